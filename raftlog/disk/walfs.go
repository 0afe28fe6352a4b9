package disk

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS calls fail when an operation on a WAL fails.
//
// Pebble notices such failures as well, but late or badly. A commit that does not wait
// for its sync gets no error until the WAL is rotated. And if the rotation fails, Pebble
// panics, and a deferred call then unlocks an unlocked mutex. The runtime ends the
// process for that with exit code 2, and no recover can prevent it. walFS sees the
// failure first, while its class can still be told.
//
// walFS is armed between Open and Close. These two return their failures instead.
type walFS struct {
	vfs.FS
	armed *atomic.Bool
	fail  func(error)
}

func isWAL(name string) bool { return strings.HasSuffix(name, ".log") }

// check hands err, if not nil, to fail while w is armed, and returns it otherwise.
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
