package faultfs

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFile is a file whose operations are subject to the rules of fs.
type faultFile struct {
	vfs.File
	fs   *FS
	path string
}

// flip returns a copy of p with the lowest bit of its middle byte flipped.
func flip(p []byte) []byte {
	out := slices.Clone(p)
	if len(out) > 0 {
		out[len(out)/2] ^= 1
	}
	return out
}

func (f *faultFile) Read(p []byte) (int, error) {
	r, err := f.fs.before("read", f.path)
	if err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	if r != nil {
		copy(p, flip(p[:n]))
	}
	return n, err
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	r, err := f.fs.before("read", f.path)
	if err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, off)
	if r != nil {
		copy(p, flip(p[:n]))
	}
	return n, err
}

func (f *faultFile) Write(p []byte) (int, error) {
	q, err := f.written(p, f.File.Write)
	if err != nil {
		return 0, err
	}
	f.fs.power.on.RLock()
	defer f.fs.power.on.RUnlock()
	n, err := f.File.Write(q)
	f.fs.power.wrote(f.path, int64(n), -1)
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	q, err := f.written(p, func(half []byte) (int, error) { return f.File.WriteAt(half, off) })
	if err != nil {
		return 0, err
	}
	f.fs.power.on.RLock()
	defer f.fs.power.on.RUnlock()
	n, err := f.File.WriteAt(q, off)
	f.fs.power.wrote(f.path, 0, off+int64(n))
	return n, err
}

// written applies the rules to a write of p, and returns the bytes to write instead. For
// a torn write, it writes the first half by calling half, and ends the process.
func (f *faultFile) written(p []byte, half func([]byte) (int, error)) ([]byte, error) {
	r, err := f.fs.before("write", f.path)
	switch {
	case err != nil || r == nil:
		return p, err
	case r.Effect == "torn":
		_, err := half(p[:len(p)/2])
		f.fs.Die()
		return nil, fmt.Errorf("torn write: %w", errors.Join(syscall.EIO, err))
	}
	return flip(p), nil
}

// Preallocate implements vfs.File. Like a creation, it fails when the disk is full.
func (f *faultFile) Preallocate(off, n int64) error {
	if _, err := f.fs.before("create", f.path); err != nil {
		return err
	}
	return f.File.Preallocate(off, n)
}

func (f *faultFile) Sync() error {
	if _, err := f.fs.before("sync", f.path); err != nil {
		return err
	}
	return f.fs.power.sync(f.path, func() (bool, error) { return true, f.File.Sync() })
}

func (f *faultFile) SyncData() error {
	if _, err := f.fs.before("sync", f.path); err != nil {
		return err
	}
	return f.fs.power.sync(f.path, func() (bool, error) { return true, f.File.SyncData() })
}

func (f *faultFile) SyncTo(n int64) (bool, error) {
	if _, err := f.fs.before("sync", f.path); err != nil {
		return false, err
	}
	full := false
	err := f.fs.power.sync(f.path, func() (_ bool, err error) {
		full, err = f.File.SyncTo(n)
		return full, err
	})
	return full, err
}
