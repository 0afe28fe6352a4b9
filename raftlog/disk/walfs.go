package disk

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS calls fail at the first operation on a WAL that goes wrong.
//
// Pebble would find out too, but late or badly. A commit that does not wait for
// its sync is told nothing until the WAL is rotated; and when the rotation fails
// Pebble panics in a place where the panic unlocks an unlocked mutex, which the
// runtime ends with exit code 2 and nobody can recover. Here the failure still has
// its class.
//
// It is armed between Open and Close, whose failures are returned.
type walFS struct {
	vfs.FS
	armed *atomic.Bool
	fail  func(error)
}

func isWAL(name string) bool { return strings.HasSuffix(name, ".log") }

func (w *walFS) check(op, name string, err error) error {
	if err != nil && w.armed.Load() {
		w.fail(fmt.Errorf("%s WAL %s: %w", op, name, err))
	}
	return err
}

func (w *walFS) wrap(op, name string, f vfs.File, err error) (vfs.File, error) {
	if !isWAL(name) {
		return f, err
	}
	if w.check(op, name, err) != nil {
		return nil, err
	}
	return &walFile{f, w, name}, nil
}

func (w *walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, c)
	return w.wrap("create", name, f, err)
}

func (w *walFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.ReuseForWrite(from, to, c)
	return w.wrap("reuse", to, f, err)
}

func (w *walFS) Unwrap() vfs.FS { return w.FS }

type walFile struct {
	vfs.File
	fs   *walFS
	name string
}

func (f *walFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.check("write", f.name, err)
}

func (f *walFile) Sync() error { return f.fs.check("sync", f.name, f.File.Sync()) }

func (f *walFile) SyncData() error { return f.fs.check("sync", f.name, f.File.SyncData()) }

func (f *walFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.check("sync", f.name, err)
}

func (f *walFile) Close() error { return f.fs.check("close", f.name, f.File.Close()) }
