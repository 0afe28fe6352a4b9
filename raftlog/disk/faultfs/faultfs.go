// Package faultfs is a file system that tests can make fail in the ways of real disks: it is
// full or slow, hangs, returns errors or wrong bytes, or loses the end of a write in a power
// cut.
// Rules can be set while a process runs, so that tests can break the disk of a real
// server.
//
// Only servers built with the tag faults contain it.
package faultfs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system with rules. If several rules strike an operation, the oldest one
// takes effect.
type FS struct {
	vfs.FS
	// Die ends the process without any cleanup, as a power cut does. New sets it to a
	// function that sends SIGKILL.
	Die func()

	mu    sync.Mutex
	rules []*Rule // guarded by mu
	last  int     // ID of the newest rule; guarded by mu

	power power
}

// New returns a file system on fs, at first without rules.
func New(fs vfs.FS) *FS {
	return &FS{FS: fs, Die: func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}}
}

// Add adds a rule and returns its ID. It returns ErrRule when there are MaxRules already.
func (f *FS) Add(r Rule) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) >= MaxRules {
		return 0, fmt.Errorf("%w: there are %d already", ErrRule, MaxRules)
	}
	f.last++
	r.ID, r.cleared = f.last, make(chan struct{})
	f.rules = append(f.rules, &r)
	return r.ID, nil
}

// Clear removes all rules. Operations that are stalled or delayed go on.
func (f *FS) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		close(r.cleared)
	}
	f.rules = nil
}

// Rules returns the rules with their present counts.
func (f *FS) Rules() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Rule, len(f.rules))
	for i, r := range f.rules {
		out[i] = *r
	}
	return out
}

// strike returns the rule that strikes an operation, or nil. It counts the operation for
// each rule that it passes.
func (f *FS) strike(op, path string) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.matches(op, path) {
			continue
		}
		r.Seen++
		if r.Seen <= r.After || r.Times > 0 && r.Struck >= r.Times {
			continue
		}
		r.Struck++
		return r
	}
	return nil
}

// before applies the rule that strikes an operation, if any: it waits, or returns the
// error of the operation. It returns the rule if the effect is on the content (flip,
// torn), which the caller must change.
func (f *FS) before(op, path string) (*Rule, error) {
	r := f.strike(op, path)
	if r == nil {
		return nil, nil
	}
	switch r.Effect {
	case "full":
		return nil, &os.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
	case "eio":
		return nil, &os.PathError{Op: op, Path: path, Err: syscall.EIO}
	case "delay":
		select {
		case <-time.After(r.Delay):
		case <-r.cleared:
		}
		return nil, nil
	case "stall":
		<-r.cleared
		return nil, nil
	}
	return r, nil
}

func (f *FS) wrap(path string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, path}, nil
}

// Create implements vfs.FS.
func (f *FS) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if _, err := f.before("create", path); err != nil {
		return nil, err
	}
	f.power.on.RLock()
	defer f.power.on.RUnlock()
	file, err := f.FS.Create(path, c)
	if err == nil {
		f.power.begin(path, 0, false)
	}
	return f.wrap(path, file, err)
}

// Open implements vfs.FS. It passes opts to the wrapped file system, where they are hints
// about the coming reads.
func (f *FS) Open(path string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(path, opts...)
	return f.wrap(path, file, err)
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(path string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if _, err := f.before("create", path); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(path, c, opts...)
	if err == nil {
		err = f.begun(path, file, true)
	}
	return f.wrap(path, file, err)
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(path string) (vfs.File, error) {
	file, err := f.FS.OpenDir(path)
	return f.wrap(path, file, err)
}

// ReuseForWrite implements vfs.FS.
func (f *FS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if _, err := f.before("create", to); err != nil {
		return nil, err
	}
	f.power.on.RLock()
	defer f.power.on.RUnlock()
	file, err := f.FS.ReuseForWrite(from, to, c)
	if err == nil {
		// The old content counts as synced, because it belongs to no reader any more.
		f.power.moved(from, "")
		f.power.begin(to, 0, true)
	}
	return f.wrap(to, file, err)
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	if _, err := f.before("create", to); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

// GetDiskUsage implements vfs.FS.
func (f *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return u, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Effect == "full" || r.Effect == "space" {
			u.AvailBytes = r.Bytes
		}
	}
	return u, nil
}

// Unwrap implements vfs.FS.
func (f *FS) Unwrap() vfs.FS { return f.FS }
