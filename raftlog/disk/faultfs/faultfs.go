// Package faultfs is a file system that fails when it is told to, as disks do: it is
// full, slow, hangs, refuses, returns what was not written, or loses the end of a write
// with the power. Rules can be set while a process runs, so that tests can do to a real
// server what they cannot do to a real disk.
//
// No server that is not built with the tag faults contains it.
package faultfs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// MaxRules bounds the rules of a file system.
const MaxRules = 64

// ErrRule is wrapped by the errors of Parse and Add.
var ErrRule = errors.New("faultfs: bad rule")

// The effects of a rule, and the operations each is meant for: what it does to others
// is nothing.
var effects = map[string][]string{
	"full":  {"create", "write", "sync"}, // ENOSPC; the disk says that nothing is free
	"eio":   {"read", "write", "sync"},   // EIO
	"delay": {"create", "read", "write", "sync"},
	"stall": {"create", "read", "write", "sync"}, // until the rule is cleared
	"flip":  {"read", "write"},                   // one bit in the middle is another one
	"torn":  {"write"},                           // the first half is written, and the process dies
	"space": {},                                  // the disk says that so many bytes are free
}

// Kinds of files that a rule may be for.
var kinds = []string{"log", "sst", "manifest", "other"}

// Rule says what goes wrong, and where.
type Rule struct {
	Effect string
	Ops    []string // which operations; nil: all that the effect is meant for
	Files  []string // which kinds of files; nil: all
	Under  string   // only paths that contain it
	After  int      // so many operations go well first
	Times  int      // how often it strikes; 0: always
	Delay  time.Duration
	Bytes  uint64 // of space

	ID      int // given by Add
	Seen    int // operations that it fits
	Struck  int
	cleared chan struct{}
}

// Parse reads a rule: an effect, a time after "delay" or bytes after "space", and then
// any of ops=write,sync files=log,sst under=PATH after=N times=N.
func Parse(words []string) (Rule, error) {
	bad := func(format string, args ...any) (Rule, error) {
		return Rule{}, fmt.Errorf("%w: %s", ErrRule, fmt.Sprintf(format, args...))
	}
	if len(words) == 0 {
		return bad("no effect")
	}
	r := Rule{Effect: words[0]}
	if effects[r.Effect] == nil {
		return bad("no effect %q", r.Effect)
	}
	words = words[1:]
	var err error
	if r.Effect == "delay" || r.Effect == "space" {
		if len(words) == 0 {
			return bad("%s needs a number", r.Effect)
		}
		if r.Effect == "delay" {
			r.Delay, err = time.ParseDuration(words[0])
		} else {
			r.Bytes, err = strconv.ParseUint(words[0], 10, 64)
		}
		if err != nil || r.Delay < 0 {
			return bad("%s %q", r.Effect, words[0])
		}
		words = words[1:]
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "ops":
			r.Ops = strings.Split(value, ",")
			for _, op := range r.Ops {
				if !slices.Contains(effects[r.Effect], op) {
					return bad("%s does nothing to %q", r.Effect, op)
				}
			}
		case "files":
			r.Files = strings.Split(value, ",")
			for _, k := range r.Files {
				if !slices.Contains(kinds, k) {
					return bad("no kind of files %q", k)
				}
			}
		case "under":
			r.Under = value
		case "after":
			r.After, err = strconv.Atoi(value)
		case "times":
			r.Times, err = strconv.Atoi(value)
		default:
			return bad("%q", w)
		}
		if err != nil || r.After < 0 || r.Times < 0 {
			return bad("%q", w)
		}
	}
	return r, nil
}

// String is Parse's inverse, with what became of the rule.
func (r Rule) String() string {
	s := fmt.Sprintf("%d: %s", r.ID, r.Effect)
	switch r.Effect {
	case "delay":
		s += " " + r.Delay.String()
	case "space":
		s += " " + strconv.FormatUint(r.Bytes, 10)
	}
	if r.Ops != nil {
		s += " ops=" + strings.Join(r.Ops, ",")
	}
	if r.Files != nil {
		s += " files=" + strings.Join(r.Files, ",")
	}
	if r.Under != "" {
		s += " under=" + r.Under
	}
	if r.After > 0 {
		s += fmt.Sprintf(" after=%d", r.After)
	}
	if r.Times > 0 {
		s += fmt.Sprintf(" times=%d", r.Times)
	}
	return s + fmt.Sprintf(" (fits %d, struck %d)", r.Seen, r.Struck)
}

// kindOf tells the kind of a file by its name.
func kindOf(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasSuffix(base, ".sst"):
		return "sst"
	case strings.HasPrefix(base, "MANIFEST-"):
		return "manifest"
	}
	return "other"
}

// FS is a file system with rules. The first rule that strikes decides.
type FS struct {
	vfs.FS
	// Die ends the process as a power cut does. New sets it to SIGKILL.
	Die func()

	mu    sync.Mutex
	rules []*Rule // guarded by mu
	last  int     // ID of the newest rule

	power power
}

// New wraps fs. Without rules all goes through.
func New(fs vfs.FS) *FS {
	return &FS{FS: fs, Die: func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}}
}

// Add sets one more rule, and returns its ID.
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

// Clear lifts all rules, and lets go on what they stall.
func (f *FS) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		close(r.cleared)
	}
	f.rules = nil
}

// Rules returns the rules as they stand.
func (f *FS) Rules() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Rule, len(f.rules))
	for i, r := range f.rules {
		out[i] = *r
	}
	return out
}

// strike returns the rule that strikes an operation, or nil.
func (f *FS) strike(op, path string) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		switch {
		case r.Ops != nil && !slices.Contains(r.Ops, op), !slices.Contains(effects[r.Effect], op),
			r.Files != nil && !slices.Contains(r.Files, kindOf(path)), !strings.Contains(path, r.Under):
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

// before does what a rule does before an operation: waits, or fails it. Effects on
// content are the caller's, who gets the rule.
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

// Open implements vfs.FS. Options, which only hint at how it will be read, are given to
// the file below.
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
	if err == nil { // what it held before is as good as synced: it is nobody's
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

type faultFile struct {
	vfs.File
	fs   *FS
	path string
}

// flip returns p with the lowest bit of its middle byte turned.
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

// written returns what is to be written in p's place; half writes the part that a torn
// write leaves.
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

// Preallocate implements vfs.File: room that there is not cannot be set aside.
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
