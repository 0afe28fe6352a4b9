package disk

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// withManifest returns the file system of a database, and the path and bytes of its
// manifest, which has several records.
func withManifest(t *testing.T) (fsys *vfs.MemFS, path string, content []byte) {
	t.Helper()
	fsys = vfs.NewMem()
	db := mustOpen(t, Options{FS: fsys})
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
	// MemFS scrambles its argument under the race detector, so it gets a copy.
	if _, err := f.Write(append([]byte(nil), content...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// recordStarts returns the positions of the records in a manifest of one block.
func recordStarts(t *testing.T, content []byte) (starts []int) {
	t.Helper()
	for at := 0; at < len(content); {
		_, n := chunkAt(content, at)
		if n == 0 {
			t.Fatalf("no chunk at %d of %d", at, len(content))
		}
		starts = append(starts, at)
		at += n
	}
	if len(starts) < 4 {
		t.Fatalf("%d records are too few", len(starts))
	}
	return starts
}

// TestManifest checks that a flipped bit before the last record is corruption, and that a
// manifest that was cut short, as by a crash, or ends with zeros, is not.
func TestManifest(t *testing.T) {
	fsys, path, content := withManifest(t)
	starts := recordStarts(t, content)
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
}

// TestOpenDamagedManifest checks that Open refuses a damaged manifest and deletes no file.
func TestOpenDamagedManifest(t *testing.T) {
	fsys, path, content := withManifest(t)
	before, _ := fsys.List("db")
	damaged := append([]byte(nil), content...)
	damaged[recordStarts(t, content)[1]+chunkHead] ^= 1
	overwrite(t, fsys, path, damaged)
	if db, err := Open("db", Options{FS: fsys}); err == nil {
		db.Close()
		t.Fatal("Open succeeded")
	} else if Classify(err) != Corrupt {
		t.Error(err)
	}
	if after, _ := fsys.List("db"); len(after) != len(before) {
		t.Errorf("files before %v, after %v", before, after)
	}
	overwrite(t, fsys, path, content)
	if err := mustOpen(t, Options{FS: fsys}).Close(); err != nil {
		t.Error(err)
	}
}

// TestManifestOfManyBlocks checks that no chunk of a long manifest of Pebble seems
// damaged.
func TestManifestOfManyBlocks(t *testing.T) {
	fsys := vfs.NewMem()
	db := mustOpen(t, Options{FS: fsys})
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
		t.Fatalf("%d bytes are too few, or %v", st.Size(), err)
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
