// Package crashfs calls a hook of a test at every moment at which a file system makes
// something durable. These are the moments at which the outcome of a power cut changes.
// In the hook, a test takes a CrashClone of a crashable memory file system, opens it and
// checks it.
package crashfs

import "github.com/cockroachdb/pebble/v2/vfs"

// Wrap returns a file system on fs that calls hook before and after each sync of a file
// or a directory, on the goroutine that syncs. The hook may clone fs, but must not use
// the returned file system.
func Wrap(fs vfs.FS, hook func(path string)) vfs.FS { return &crashFS{fs, hook} }

type crashFS struct {
	vfs.FS
	hook func(string)
}

func (c *crashFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{f, name, c.hook}, nil
}

func (c *crashFS) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, cat)
	return c.wrap(name, f, err)
}

func (c *crashFS) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, cat, opts...)
	return c.wrap(name, f, err)
}

func (c *crashFS) OpenDir(name string) (vfs.File, error) {
	f, err := c.FS.OpenDir(name)
	return c.wrap(name, f, err)
}

func (c *crashFS) ReuseForWrite(oldname, newname string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.ReuseForWrite(oldname, newname, cat)
	return c.wrap(newname, f, err)
}

func (c *crashFS) Unwrap() vfs.FS { return c.FS }

type file struct {
	vfs.File
	name string
	hook func(string)
}

func (f *file) Sync() error {
	f.hook(f.name)
	defer f.hook(f.name)
	return f.File.Sync()
}

func (f *file) SyncData() error {
	f.hook(f.name)
	defer f.hook(f.name)
	return f.File.SyncData()
}

func (f *file) SyncTo(length int64) (bool, error) {
	f.hook(f.name)
	defer f.hook(f.name)
	return f.File.SyncTo(length)
}
