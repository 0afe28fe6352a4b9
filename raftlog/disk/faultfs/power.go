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

// power knows the data that a power cut would take: the unsynced end of each file, and
// the names of new files in directories that were not synced since.
type power struct {
	// on is read-locked by operations that change files or sync them. A cut locks it and
	// never unlocks it.
	on sync.RWMutex

	mu    sync.Mutex
	tails map[string]*tail // of files created or opened for writing, by path; guarded by mu
}

// tail is the end of a file. After 4 bytes were synced and 6 more written, for example,
// synced is 4 and end is 10, and a power cut leaves 4 to 10 bytes.
type tail struct {
	synced, end int64
	named       bool // the directory was synced since the file was created
}

// begin registers a file of size synced bytes that is open for writing. named tells
// whether its name is durable.
func (p *power) begin(path string, size int64, named bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tails == nil {
		p.tails = map[string]*tail{}
	}
	p.tails[path] = &tail{synced: size, end: size, named: named}
}

// moved notes that a file was renamed, or removed if to is empty.
func (p *power) moved(from, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tails[from]; t != nil && to != "" {
		p.tails[to] = t
	}
	delete(p.tails, from)
}

// wrote notes that a file reaches to end. If end is negative, the file grew by n bytes.
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

// sync calls do, which syncs a file or a directory, and then notes the bytes or names
// that are durable. do returns done == false if it only started to write them.
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

// Cut cuts the power. No operation writes any more, each file at random keeps all, some
// or none of its unsynced end, files without a durable name may vanish, and the process
// dies. It works only on the file system of the operating system. Renames and removals
// stay in effect, even unsynced ones.
func (f *FS) Cut() {
	f.power.on.Lock() // never unlocked
	f.power.mu.Lock()
	defer f.power.mu.Unlock()
	for path, t := range f.power.tails {
		if err := t.lose(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintln(os.Stderr, "power cut:", err) // the process ends in any case
		}
	}
	f.Die()
}

// lose removes a file whose name is not durable, or cuts its unsynced end, at random.
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

// begun registers a file that was opened for writing, with its present size.
func (f *FS) begun(path string, file vfs.File, named bool) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	f.power.begin(path, st.Size(), named)
	return nil
}
