package shard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"millrace/kv"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// headerName is the file in which a staged snapshot keeps its header.
const headerName = "header"

// receiver stages a snapshot that arrives: it takes the stream apart into files and
// checks every byte. One goroutine uses it.
type receiver struct {
	cfg    *Config
	dir    string
	head   []byte // of the header, until it is complete
	header snapHeader
	parsed bool
	next   int // number of the file to be written next

	file vfs.File // being written; nil between files
	hash hash.Hash
	left uint64 // bytes of it that are missing
}

func newReceiver(cfg *Config, dir string) (*receiver, error) {
	if err := cfg.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &receiver{cfg: cfg, dir: dir}, nil
}

// Write takes the next part of the stream.
func (r *receiver) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		var n int
		var err error
		if r.parsed {
			n, err = r.writeFile(p)
		} else {
			n, err = r.writeHeader(p)
		}
		if err != nil {
			return total - len(p), err
		}
		p = p[n:]
	}
	return total, nil
}

func (r *receiver) writeHeader(p []byte) (int, error) {
	want := snapFixedLen
	if len(r.head) >= snapFixedLen {
		var err error
		if want, err = snapHeaderLen(r.head); err != nil {
			return 0, err
		}
	}
	n := min(len(p), want-len(r.head))
	r.head = append(r.head, p[:n]...)
	if len(r.head) < want || want == snapFixedLen {
		return n, nil
	}
	h, err := decodeSnapHeader(r.head)
	if err != nil {
		return n, err
	}
	if err := h.isOf(r.cfg); err != nil {
		return n, err
	}
	r.header, r.parsed = h, true
	return n, writeSynced(r.cfg.FS, r.cfg.FS.PathJoin(r.dir, headerName), r.head)
}

// isOf refuses a snapshot of another shard.
func (h *snapHeader) isOf(cfg *Config) error {
	if h.shard != cfg.ID || h.firstSlot != cfg.FirstSlot || h.lastSlot != cfg.LastSlot {
		return fmt.Errorf("%w: %v, wanted shard %d, slots %d-%d", ErrSnapshot, h, cfg.ID, cfg.FirstSlot, cfg.LastSlot)
	}
	return nil
}

func (r *receiver) writeFile(p []byte) (int, error) {
	if r.file == nil {
		if r.next == len(r.header.files) {
			return 0, fmt.Errorf("%w: %d bytes after its end", ErrSnapshot, len(p))
		}
		f, err := r.cfg.FS.Create(r.cfg.FS.PathJoin(r.dir, tableName(r.next)), vfs.WriteCategoryUnspecified)
		if err != nil {
			return 0, err
		}
		r.file, r.hash, r.left = f, sha256.New(), r.header.files[r.next].size
	}
	n := int(min(uint64(len(p)), r.left))
	r.hash.Write(p[:n]) // first, because a file may spoil the bytes that it is given
	if _, err := r.file.Write(p[:n]); err != nil {
		return 0, err
	}
	if r.left -= uint64(n); r.left > 0 {
		return n, nil
	}
	err := errors.Join(r.file.Sync(), r.file.Close())
	r.file = nil
	if err != nil {
		return n, err
	}
	if !bytes.Equal(r.hash.Sum(nil), r.header.files[r.next].sum[:]) {
		return n, fmt.Errorf("%w: checksum of file %d", ErrSnapshot, r.next)
	}
	r.next++
	return n, nil
}

// finish makes the received files durable, once they are complete and checked.
func (r *receiver) finish() (snapHeader, error) {
	if !r.parsed || r.file != nil || r.next < len(r.header.files) {
		return snapHeader{}, fmt.Errorf("%w: cut short at file %d of %d", ErrSnapshot, r.next, len(r.header.files))
	}
	lo, hi := kv.SlotBounds(r.cfg.FirstSlot, r.cfg.LastSlot)
	for i := range r.header.files {
		if err := checkTable(r.cfg.FS, r.cfg.FS.PathJoin(r.dir, tableName(i)), lo, hi); err != nil {
			return snapHeader{}, err
		}
	}
	// The files, their directory, and its name in the directory above.
	if err := syncDir(r.cfg.FS, r.dir); err != nil {
		return snapHeader{}, err
	}
	return r.header, syncDir(r.cfg.FS, r.cfg.FS.PathDir(r.dir))
}

// discard removes everything that was received.
func (r *receiver) discard() error {
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	return errors.Join(err, r.cfg.FS.RemoveAll(r.dir))
}

// checkStaged reads a staged snapshot's header. With content it also checks all of its
// files.
func checkStaged(cfg *Config, dir string, content bool) (snapHeader, error) {
	b, err := readFile(cfg.FS, cfg.FS.PathJoin(dir, headerName))
	if err != nil {
		return snapHeader{}, err
	}
	h, err := decodeSnapHeader(b)
	if err == nil {
		err = h.isOf(cfg)
	}
	if err != nil || !content {
		return h, err
	}
	for i, want := range h.files {
		f, err := cfg.FS.Open(cfg.FS.PathJoin(dir, tableName(i)))
		if err != nil {
			return h, err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return h, err
		}
		if uint64(n) != want.size || !bytes.Equal(sum.Sum(nil), want.sum[:]) {
			return h, fmt.Errorf("%w: staged file %d has changed", ErrSnapshot, i)
		}
	}
	return h, nil
}

// checkTable makes sure that a table's keys lie in [lo, hi). Keys beyond that would
// become part of other shards.
func checkTable(fs vfs.FS, path string, lo, hi []byte) (err error) {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	t, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s: %w", ErrSnapshot, fs.PathBase(path), err), readable.Close())
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	props, err := t.ReadPropertiesBlock(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSnapshot, fs.PathBase(path), err)
	}
	if props.NumRangeDeletions > 0 || props.NumRangeKeys() > 0 {
		return fmt.Errorf("%w: %s holds ranges", ErrSnapshot, fs.PathBase(path))
	}
	it, err := t.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSnapshot, fs.PathBase(path), err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first := it.First()
	if first == nil {
		return errors.Join(fmt.Errorf("%w: %s is empty", ErrSnapshot, fs.PathBase(path)), it.Error())
	}
	if bytes.Compare(first.K.UserKey, lo) < 0 {
		return fmt.Errorf("%w: %s begins at %x", ErrSnapshot, fs.PathBase(path), first.K.UserKey)
	}
	last := it.Last()
	if last == nil || bytes.Compare(last.K.UserKey, hi) >= 0 {
		return errors.Join(fmt.Errorf("%w: %s ends beyond the shard", ErrSnapshot, fs.PathBase(path)), it.Error())
	}
	return nil
}

func writeSynced(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
