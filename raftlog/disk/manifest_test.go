package disk

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// withManifest returns a database's files and the path and bytes of its manifest, which
// has several records.
func withManifest(t *testing.T) (fsys *vfs.MemFS, path string, content []byte) {
	t.Helper()
	fsys = vfs.NewMem()
	db := open1(t, Options{FS: fsys})
	for i := range 8 {
		if err := db.Set(fmt.Append(nil, i), nil, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	desc, err := pebble.Peek("db", fsys)
	if err != nil {
		t.Fatal(err)
	}
	path = desc.ManifestFilename
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	return fsys, path, content
}

func overwrite(t *testing.T, fsys vfs.FS, path string, content []byte) {
	t.Helper()
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	// A copy: under the race detector this file system scribbles over what it was given.
	if _, err := f.Write(append([]byte(nil), content...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Any flipped byte before the last record is corruption; any cut is what a crash
// leaves. Neither says anything of the other.
func TestManifest(t *testing.T) {
	fsys, path, content := withManifest(t)
	starts := []int{}
	for at := 0; at < len(content); {
		_, n := chunkAt(content, at)
		if n == 0 {
			t.Fatalf("no chunk at %d of %d", at, len(content))
		}
		starts = append(starts, at)
		at += n
	}
	if len(starts) < 4 {
		t.Fatalf("%d records: this shows nothing", len(starts))
	}
	last := starts[len(starts)-1]
	for at := range content {
		damaged := append([]byte(nil), content...)
		damaged[at] ^= 0x10
		overwrite(t, fsys, path, damaged)
		if err := checkManifest(fsys, path); errors.Is(err, ErrCorrupt) != (at < last) {
			t.Errorf("byte %d of %d flipped, the last record is at %d: %v", at, len(content), last, err)
		}
		overwrite(t, fsys, path, content[:at])
		if err := checkManifest(fsys, path); err != nil {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	overwrite(t, fsys, path, append(append([]byte(nil), content...), make([]byte, 100)...))
	if err := checkManifest(fsys, path); err != nil {
		t.Errorf("zeros at its end: %v", err)
	}

	// Open refuses it, and deletes nothing.
	before, _ := fsys.List("db")
	damaged := append([]byte(nil), content...)
	damaged[starts[1]+chunkHead] ^= 1
	overwrite(t, fsys, path, damaged)
	if db, err := Open("db", Options{FS: fsys}); err == nil {
		db.Close()
		t.Fatal("opened")
	} else if Classify(err) != Corrupt {
		t.Error(err)
	}
	if after, _ := fsys.List("db"); len(after) != len(before) {
		t.Errorf("files before %v, after %v", before, after)
	}
	overwrite(t, fsys, path, content)
	if err := open1(t, Options{FS: fsys}).Close(); err != nil {
		t.Error(err)
	}
}

// A manifest of many blocks is read as Pebble writes it.
func TestManifestOfManyBlocks(t *testing.T) {
	fsys := vfs.NewMem()
	db := open1(t, Options{FS: fsys})
	for i := range 300 {
		if err := db.Set([]byte(fmt.Sprintf("%0500d", i)), nil, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	desc, err := pebble.Peek("db", fsys)
	if err != nil {
		t.Fatal(err)
	}
	path := desc.ManifestFilename
	st, err := fsys.Stat(path)
	if err != nil || st.Size() < 3*manifestBlock {
		t.Fatalf("%d bytes, %v: this shows nothing", st.Size(), err)
	}
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if bad := firstBadChunk(content); bad != len(content) {
		t.Errorf("damaged at %d of %d", bad, len(content))
	}
	f.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
