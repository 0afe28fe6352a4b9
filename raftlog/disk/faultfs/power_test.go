package faultfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCut checks that a power cut keeps all synced bytes and names, and that many cuts
// lose all, some and none of the unsynced ones.
func TestCut(t *testing.T) {
	lengths, gone := map[int]bool{}, 0
	for range 200 {
		dir := t.TempDir()
		path := func(name string) string { return filepath.Join(dir, name) }
		writeAndCut(t, dir)
		b, err := os.ReadFile(path("1.log"))
		if err != nil || len(b) < 4 || string(b) != "0123456789"[:len(b)] {
			t.Fatalf("the log is %q, %v", b, err)
		}
		lengths[len(b)] = true
		if b, err := os.ReadFile(path("4.sst")); err != nil || string(b) != "abcd" {
			t.Fatalf("a synced table is %q, %v", b, err)
		}
		if _, err := os.Stat(path("3.sst")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the removed table: %v", err)
		}
		if _, err := os.Stat(path("5.log")); err != nil {
			gone++
		}
	}
	if !lengths[4] || !lengths[10] || len(lengths) < 5 {
		t.Errorf("the log kept %v of 10 bytes, 4 of which were synced", lengths)
	}
	if gone == 0 || gone == 200 {
		t.Errorf("a file without a durable name was lost %d times of 200", gone)
	}
}

// writeAndCut writes these files and cuts the power:
//
//	1.log   10 bytes, 4 of them synced
//	4.sst   4 bytes, synced, renamed from 2.sst
//	3.sst   removed
//	5.log   empty; the directory was not synced since its creation
func writeAndCut(t *testing.T, dir string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := New(vfs.Default)
	died := false
	f.Die = func() { died = true }
	create := func(name string) vfs.File {
		file, err := f.Create(path(name), vfs.WriteCategoryUnspecified)
		must(err)
		return file
	}
	write := func(file vfs.File, text string) {
		_, err := file.Write([]byte(text))
		must(err)
	}
	log, table, removed := create("1.log"), create("2.sst"), create("3.sst")
	write(log, "0123")
	must(log.SyncData())
	write(log, "456789")
	write(table, "abcd")
	must(table.Sync())
	write(removed, "x")
	must(f.Rename(path("2.sst"), path("4.sst")))
	d, err := f.OpenDir(dir)
	must(err)
	must(d.Sync())
	must(f.Remove(path("3.sst")))
	write(create("5.log"), "")
	f.Cut()
	if !died {
		t.Fatal("Cut did not end the process")
	}
}
