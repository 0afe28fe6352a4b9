package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// power keeps what a power cut would take: the end of each file that was written and not
// synced, and the names of new files whose directory was not.
type power struct {
	// on is held for reading by whatever changes a file, and taken for good by a cut.
	on sync.RWMutex

	mu    sync.Mutex
	tails map[string]*tail // of files that were made or opened for writing, by path
}

// tail is the end of a file.
type tail struct {
	synced, end int64
	named       bool // the directory was synced since
}

// begin notes a file that is about to be written from size on.
func (p *power) begin(path string, size int64, named bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tails == nil {
		p.tails = map[string]*tail{}
	}
	p.tails[path] = &tail{synced: size, end: size, named: named}
}

// moved notes that a file has another name; empty: none.
func (p *power) moved(from, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tails[from]; t != nil && to != "" {
		p.tails[to] = t
	}
	delete(p.tails, from)
}

// wrote notes that a file reaches to end, or grew by n bytes where end is negative.
func (p *power) wrote(path string, n, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tails[path]; t != nil {
		if end < 0 {
			end = t.end + n
		}
		t.end = max(t.end, end)
	}
}

// sync runs a sync of a file, or of a directory, and notes what it has made safe. done
// reports whether it has made anything so.
func (p *power) sync(path string, do func() (done bool, err error)) error {
	p.on.RLock()
	defer p.on.RUnlock()
	p.mu.Lock()
	t, end := p.tails[path], int64(0)
	if t != nil {
		end = t.end
	}
	p.mu.Unlock()
	done, err := do()
	if err != nil || !done {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t != nil {
		t.synced = max(t.synced, end)
		return nil
	}
	for name, t := range p.tails {
		t.named = t.named || filepath.Dir(name) == filepath.Clean(path)
	}
	return nil
}

// Cut cuts the power: nothing is written from now on, what was not synced is lost in
// part or as a whole, as chance wants it, and the process dies. It is for the operating
// system's own file system. Names that were changed or removed stay so.
func (f *FS) Cut() {
	f.power.on.Lock() // for good
	f.power.mu.Lock()
	defer f.power.mu.Unlock()
	for path, t := range f.power.tails {
		if err := t.lose(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintln(os.Stderr, "power cut:", err) // the end is near anyway
		}
	}
	f.Die()
}

// lose takes from a file what was not synced.
func (t *tail) lose(path string) error {
	if !t.named && rand.IntN(2) == 0 {
		return os.Remove(path)
	}
	if t.end <= t.synced {
		return nil
	}
	keep := t.synced
	if rand.IntN(2) == 0 {
		keep += rand.Int64N(t.end - t.synced + 1)
	}
	return os.Truncate(path, keep)
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	f.power.on.RLock()
	defer f.power.on.RUnlock()
	err := f.FS.Rename(from, to)
	if err == nil {
		f.power.moved(from, to)
	}
	return err
}

// Remove implements vfs.FS.
func (f *FS) Remove(path string) error {
	f.power.on.RLock()
	defer f.power.on.RUnlock()
	err := f.FS.Remove(path)
	if err == nil {
		f.power.moved(path, "")
	}
	return err
}

// begun notes a file that was opened for writing.
func (f *FS) begun(path string, file vfs.File, named bool) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	f.power.begin(path, st.Size(), named)
	return nil
}
