package raftlog

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

// TestLocked opens a directory that is open already, here and in another process.
func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "log")
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open in one process: %v", err)
	}
	if _, err := OpenReadOnly(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("read-only open beside a writer: %v", err)
	}
	if out := openInChild(t, dir); !strings.Contains(out, "LOCKED") {
		t.Errorf("open in another process: %s", out)
	}
	closeDB(t, db)
	if out := openInChild(t, dir); !strings.Contains(out, "OPENED") {
		t.Errorf("open in another process after Close: %s", out)
	}
}

// childDir is the environment variable that gives TestChildOpens its directory.
const childDir = "RAFTLOG_TEST_OPEN"

// openInChild opens dir in a process of its own, and returns its output.
func openInChild(t *testing.T, dir string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestChildOpens$", "-test.v")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestChildOpens is the other process of TestLocked.
func TestChildOpens(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("runs as a child of TestLocked")
	}
	db, err := Open(dir, Options{})
	switch {
	case errors.Is(err, ErrLocked):
		t.Log("LOCKED")
	case err != nil:
		t.Fatal(err)
	default:
		t.Log("OPENED")
		closeDB(t, db)
	}
}

func TestDirectoryPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	fi, err := os.Stat(dir)
	if err != nil || fi.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", fi.Mode(), err)
	}
}

// TestNewerAndForeign opens databases of newer versions and of other programs.
func TestNewerAndForeign(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*pebble.DB) error
		want error
	}{
		{"newer format", func(p *pebble.DB) error {
			return p.Set(formatKey, binary.BigEndian.AppendUint32(nil, formatVersion+1), pebble.Sync)
		}, ErrNewerFormat},
		{"newer Pebble", func(p *pebble.DB) error {
			return p.RatchetFormatMajorVersion(pebble.FormatNewest)
		}, ErrNewerFormat},
		{"no format", func(p *pebble.DB) error { return p.Set([]byte("k"), nil, pebble.Sync) }, ErrForeign},
		{"odd format", func(p *pebble.DB) error { return p.Set(formatKey, []byte("x"), pebble.Sync) }, ErrForeign},
		{"format 0", func(p *pebble.DB) error { return p.Set(formatKey, make([]byte, 4), pebble.Sync) }, ErrForeign},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			p, err := pebble.Open("log", &pebble.Options{FS: fs, FormatMajorVersion: disk.Format, Logger: quietLogger{}})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.set(p), p.Close()); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second round shows that a refusal releases the lock
				if _, err := Open("log", Options{FS: fs}); !errors.Is(err, c.want) {
					t.Errorf("Open: %v", err)
				}
				if _, err := OpenReadOnly("log", Options{FS: fs}); !errors.Is(err, c.want) {
					t.Errorf("OpenReadOnly: %v", err)
				}
			}
		})
	}
}

type quietLogger struct{ pebble.Logger }

func (quietLogger) Infof(string, ...any) {}

// TestReadOnlyMissing checks that a read-only open creates nothing.
func TestReadOnlyMissing(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := OpenReadOnly("log", Options{FS: fs}); !errors.Is(err, disk.ErrMissing) {
		t.Fatalf("without a directory: %v", err)
	}
	if _, err := fs.Stat("log"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a read-only open created the directory: %v", err)
	}
	if err := fs.MkdirAll("log", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly("log", Options{FS: fs}); !errors.Is(err, disk.ErrMissing) {
		t.Fatalf("in an empty directory: %v", err)
	}
}

// storeOneOfEach stores keys of all kinds, some undecodable, and closes the database.
func storeOneOfEach(t *testing.T, fs vfs.FS) {
	t.Helper()
	db := mustOpen(t, fs, Options{})
	s := db.Store(2)
	storeLogs(t, s, commands(1, 200, 1))
	deleteRange(t, s, 1, 198)
	storeLogs(t, s, []*raft.Log{{Index: 201, Term: 2, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(testMarker().Configuration)}})
	setVote(t, s, 2, "n1")
	if err := errors.Join(s.SetUint64([]byte("CurrentTerm"), 2), s.PutMarker(testMarker())); err != nil {
		t.Fatal(err)
	}
	// An undecodable record, and two keys of unknown kinds.
	for _, k := range [][]byte{recordKey(3, 1), appendPrefix(nil, 3, 'q'), []byte("zz")} {
		if err := db.pebble.Set(k, []byte{9, 9}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	closeDB(t, db)
}

// TestDump prints keys of all kinds from a database that is open for reading only.
func TestDump(t *testing.T) {
	fs := vfs.NewMem()
	storeOneOfEach(t, fs)
	db, err := OpenReadOnly("log", Options{FS: fs, RenderCommand: func(b []byte) string { return strings.ToUpper(string(b)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeDB(t, db)
	var got []string
	dump := func(shard uint32, kind, text string) bool {
		got = append(got, strings.Join([]string{string(rune('0' + shard)), kind, text}, " "))
		return true
	}
	if err := db.Dump(dump); err != nil {
		t.Fatal(err)
	}
	servers := "servers=[Voter:n1 Nonvoter:n2@host:1]"
	want := []string{
		"0 format version=1",
		"2 floor index=199",
		"2 marker index=120 term=3 applied=118 configuration=7 " + servers + ` staged="in-00000001" bytes=4096`,
		"2 record index=199 term=1 type=LogCommand bytes=21 COMMAND 199 OF TERM 1",
		"2 record index=200 term=1 type=LogCommand bytes=21 COMMAND 200 OF TERM 1",
		"2 record index=201 term=2 type=LogConfiguration bytes=70 " + servers,
		"2 stable CurrentTerm=2",
		`2 vote term=2 candidate="n1"`,
		`3 unknown key=010000000371 value="\t\t"`,
		"3 record undecodable: index=1 record: version 9, want 1",
		`0 unknown key=7a7a value="\t\t"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("dump:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got = nil
	if err := db.Dump(func(shard uint32, kind, text string) bool { dump(shard, kind, text); return len(got) < 3 }); err != nil || len(got) != 3 {
		t.Errorf("a dump that should end after 3 keys gave %d, %v", len(got), err)
	}
	wantBounds(t, db.Store(2), 199, 201)
}
