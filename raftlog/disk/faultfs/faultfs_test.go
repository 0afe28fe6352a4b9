package faultfs

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// rule parses a rule that must be valid.
func rule(t *testing.T, text string) Rule {
	t.Helper()
	r, err := Parse(strings.Fields(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestParse checks that valid rules survive Parse and String, and that bad ones are
// refused.
func TestParse(t *testing.T) {
	for _, text := range []string{
		"full", "eio ops=sync files=log", "delay 20ms under=raftlog", "stall", "space 4096",
		"flip ops=read files=sst,manifest after=3 times=1", "torn files=other",
	} {
		if got := rule(t, text).String(); got != "0: "+text+" (fits 0, struck 0)" {
			t.Errorf("%q is read as %q", text, got)
		}
	}
	for _, text := range []string{
		"", "frob", "delay", "delay x", "delay -1s", "space", "space -1", "full ops=read", "torn ops=sync",
		"eio ops=", "eio files=wal", "eio after=x", "eio times=-1", "eio when=now",
	} {
		if r, err := Parse(strings.Fields(text)); !errors.Is(err, ErrRule) {
			t.Errorf("%q is read as %v, %v", text, r, err)
		}
	}
}

// write writes and syncs a file, and returns the content that it then reads back.
func write(fs vfs.FS, path, content string) (string, error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", err
	}
	_, err = f.Write([]byte(content))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if f, err = fs.Open(path); err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// TestRules checks that a rule strikes the operations and files that it names, as often
// as it says, and no others.
func TestRules(t *testing.T) {
	for _, tc := range []struct {
		rule string
		path string
		want string // content read back; empty after an error
		err  error
	}{
		{"full", "a.log", "", syscall.ENOSPC},
		{"full files=sst", "a.log", "abcd", nil},
		{"full under=raftlog", "a.log", "abcd", nil},
		{"full ops=write after=1", "a.log", "abcd", nil},
		{"eio ops=sync", "1.sst", "", syscall.EIO},
		{"eio ops=read", "1.sst", "", syscall.EIO},
		{"flip ops=write", "MANIFEST-1", "abbd", nil},
		{"flip ops=read times=1 files=manifest", "MANIFEST-1", "abbd", nil},
		{"delay 1ms", "x", "abcd", nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			fs := New(vfs.NewMem())
			if _, err := fs.Add(rule(t, tc.rule)); err != nil {
				t.Fatal(err)
			}
			if got, err := write(fs, tc.path, "abcd"); got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%q, %v", got, err)
			}
			fs.Clear()
			if got, err := write(fs, tc.path, "abcd"); got != "abcd" || err != nil {
				t.Errorf("after Clear: %q, %v", got, err)
			}
		})
	}
}

// TestTorn checks that a torn write leaves its first half, and ends the process.
func TestTorn(t *testing.T) {
	mem := vfs.NewMem()
	fs := New(mem)
	died := 0
	fs.Die = func() { died++ }
	if _, err := fs.Add(rule(t, "torn times=1")); err != nil {
		t.Fatal(err)
	}
	if _, err := write(fs, "a", "abcd"); err == nil || died != 1 {
		t.Fatalf("died %d times: %v", died, err)
	}
	f, err := mem.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "ab" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// TestStall checks that a stalled operation goes on once the rule is cleared.
func TestStall(t *testing.T) {
	fs := New(vfs.NewMem())
	if _, err := fs.Add(rule(t, "stall ops=sync")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := write(fs, "a", "abcd"); done <- err }()
	for deadline := time.Now().Add(20 * time.Second); fs.Rules()[0].Struck == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sync was never reached")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("the sync did not stall: %v", err)
	default:
	}
	fs.Clear()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSpaceAndBound checks the free space that a rule reports, and the bound MaxRules.
func TestSpaceAndBound(t *testing.T) {
	fs := New(vfs.Default)
	if _, err := fs.Add(rule(t, "space 4096")); err != nil {
		t.Fatal(err)
	}
	if u, err := fs.GetDiskUsage(t.TempDir()); err != nil || u.AvailBytes != 4096 || u.TotalBytes <= 4096 {
		t.Errorf("%+v, %v", u, err)
	}
	for range MaxRules - 1 {
		if _, err := fs.Add(Rule{Effect: "eio"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fs.Add(Rule{Effect: "eio"}); !errors.Is(err, ErrRule) {
		t.Error(err)
	}
}
