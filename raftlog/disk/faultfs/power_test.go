package faultfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A power cut keeps what was synced and takes nothing but what was not; over many cuts
// it takes all of that, some, and nothing.
func TestCut(t *testing.T) {
	lengths, gone := map[int64]bool{}, 0
	for range 200 {
		dir := t.TempDir()
		path := func(name string) string { return filepath.Join(dir, name) }
		f := New(vfs.Default)
		died := false
		f.Die = func() { died = true }
		make := func(name string) vfs.File {
			file, err := f.Create(path(name), vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			return file
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		write := func(file vfs.File, text string) {
			_, err := file.Write([]byte(text))
			must(err)
		}
		log, safe, removed := make("1.log"), make("2.sst"), make("3.sst")
		write(log, "0123")
		must(log.SyncData())
		write(log, "456789")
		write(safe, "abcd")
		must(safe.Sync())
		write(removed, "x")
		must(f.Rename(path("2.sst"), path("4.sst")))
		d, err := f.OpenDir(dir)
		must(err)
		must(d.Sync())
		must(f.Remove(path("3.sst")))
		write(make("5.log"), "") // its name is not safe
		f.Cut()
		if !died {
			t.Fatal("the process goes on")
		}
		b, err := os.ReadFile(path("1.log"))
		if err != nil || len(b) < 4 || string(b) != "0123456789"[:len(b)] {
			t.Fatalf("the log is %q, %v", b, err)
		}
		lengths[int64(len(b))] = true
		if b, err := os.ReadFile(path("4.sst")); err != nil || string(b) != "abcd" {
			t.Fatalf("a synced table is %q, %v", b, err)
		}
		if _, err := os.Stat(path("3.sst")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("what was removed: %v", err)
		}
		if _, err := os.Stat(path("5.log")); err != nil {
			gone++
		}
	}
	if !lengths[4] || !lengths[10] || len(lengths) < 5 {
		t.Errorf("the log kept %v of 10 bytes, 4 of which were synced", lengths)
	}
	if gone == 0 || gone == 200 {
		t.Errorf("a file without a safe name was lost %d times of 200", gone)
	}
}
