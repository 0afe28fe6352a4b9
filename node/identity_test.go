package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/placement"
)

// TestIdentityStays shows that the first use of a directory creates an identity, and that it
// stays the same afterwards.
func TestIdentityStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := prepareDir(dir); err != nil {
		t.Fatal(err)
	}
	id, err := loadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !placement.ValidID(id.NodeID) || id.ClusterID != "" || id.Format != identityFormat {
		t.Errorf("%+v", id)
	}
	id.ClusterID = randomID()
	if err := id.save(dir); err != nil {
		t.Fatal(err)
	}
	if err := prepareDir(dir); err != nil {
		t.Fatal(err)
	}
	if again, err := loadIdentity(dir); again != id || err != nil {
		t.Errorf("%+v, %v, want %+v", again, err, id)
	}
	other, err := loadIdentity(t.TempDir())
	if err != nil || other.NodeID == id.NodeID {
		t.Errorf("two directories have the same node ID: %v, %v", other, err)
	}
}

func TestLoadIdentityRefuses(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef01234567"
	for _, tc := range []struct {
		content string
		want    error
		code    int
	}{
		{`{"format":2,"node_id":"` + id + `"}`, ErrNewerFormat, 1},
		{`{"format":0,"node_id":"` + id + `"}`, ErrIdentity, 12},
		{`{"node_id":"` + id + `"}`, ErrIdentity, 12},
		{`{"format":1}`, ErrIdentity, 12},
		{`{"format":1,"node_id":"` + strings.ToUpper(id) + `"}`, ErrIdentity, 12},
		{`{"format":1,"node_id":"` + id[1:] + `"}`, ErrIdentity, 12},
		{`{"format":1,"node_id":"` + id + `","cluster_id":"x"}`, ErrIdentity, 12},
		{`{"format":1,"node_id":"` + id + `","sum":"00000000"}`, ErrIdentity, 12},
		{`{"format":2,"node_id":"` + id + `","sum":"` + identity{Format: 2, NodeID: id}.sum() + `"}`, ErrNewerFormat, 1},
		{`{"format":3,"node_id":"` + id + `","sum":"` + identity{Format: 1, NodeID: id}.sum() + `"}`, ErrIdentity, 12},
		{`{"format":1,"node_id":"` + id, ErrIdentity, 12},
		{``, ErrIdentity, 12},
		{"\x00\x00\x00", ErrIdentity, 12},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadIdentity(dir)
		if !errors.Is(err, tc.want) || ExitCode(err) != tc.code || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v, exit code %d; want %v, %d", tc.content, err, ExitCode(err), tc.want, tc.code)
		}
	}
}

// TestIdentityFlipped flips each bit of the file. The result is refused, or is the same
// identity.
func TestIdentityFlipped(t *testing.T) {
	dir := t.TempDir()
	id := identity{Format: identityFormat, NodeID: randomID(), ClusterID: randomID()}
	if err := id.save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		got, err := parseIdentity(path, b)
		if err != nil && ExitCode(err) != 12 || err == nil && got != id {
			t.Errorf("bit %d of byte %d: %+v, %v", i%8, i/8, got, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestPrepareDir(t *testing.T) {
	for _, tc := range []struct {
		holds []string
		want  error
	}{
		{nil, nil},
		{[]string{"lost+found"}, nil},
		{[]string{lockFile, identityFile + ".new"}, nil}, // an interrupted first start
		{[]string{identityFile, stateDir, "anything"}, nil},
		{[]string{"anything"}, ErrForeign},
		{[]string{lockFile, "anything"}, ErrForeign},
		{[]string{"anything", raftlogDir}, ErrIdentity},
		{[]string{stateDir}, ErrIdentity},
	} {
		dir := t.TempDir()
		for _, name := range tc.holds {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := prepareDir(dir); !errors.Is(err, tc.want) {
			t.Errorf("%v: %v, want %v", tc.holds, err, tc.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != len(tc.holds) {
			t.Errorf("%v: the directory holds %v now", tc.holds, left)
		}
	}
}

// TestWriteFileSync replaces a file by a shorter one, and leaves no other file behind.
func TestWriteFileSync(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"a longer content", "short"} {
		if err := writeFileSync(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); string(b) != content || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
	if err := writeFileSync(filepath.Join(dir, "f", "g"), nil); err == nil {
		t.Error("a file was written below a file")
	}
	if err := removeFileSync(path); err != nil {
		t.Error(err)
	}
}
