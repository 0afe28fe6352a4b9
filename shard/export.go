package shard

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/mutant"
)

// errNothing says that the shard's state is empty: it does not even have an applied
// index.
var errNothing = errors.New("shard: no state to export")

// export is the shard's state as files in a directory of their own, which are being read.
type export struct {
	io.Reader
	header  snapHeader
	fs      vfs.FS
	dir     string
	table   *tableWriter // being written; nil between tables
	files   []vfs.File   // of the complete export, open for reading
	release func()       // called once by Close
}

// newExport writes the shard's range of keys, as it is at one moment, to tables in dir.
// It stops early when stop is closed.
func newExport(sh *shared, dir string, stop <-chan struct{}) (_ *export, err error) {
	cfg := sh.cfg
	e := &export{fs: cfg.FS, dir: dir, release: func() {}}
	if err := cfg.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("export: %w", err), e.Close())
		}
	}()
	e.header = snapHeader{shard: cfg.ID, firstSlot: cfg.FirstSlot, lastSlot: cfg.LastSlot}
	if err := e.writeTables(sh, stop); err != nil {
		return nil, err
	}
	readers := []io.Reader{bytes.NewReader(e.header.encode())}
	for i := range e.header.files {
		f, err := cfg.FS.Open(cfg.FS.PathJoin(dir, tableName(i)))
		if err != nil {
			return nil, err
		}
		e.files = append(e.files, f)
		readers = append(readers, f)
	}
	e.Reader = io.MultiReader(readers...)
	return e, nil
}

func tableName(i int) string { return fmt.Sprintf("%06d.sst", i) }

// size returns the number of bytes that the export reads as.
func (e *export) size() int64 { return int64(e.header.len()) + e.header.contentBytes() }

// Close implements io.Closer. It removes the files.
func (e *export) Close() error {
	var err error
	if e.table != nil {
		_ = e.table.w.Close() // it was cut short, and goes with the directory
		e.table = nil
	}
	for _, f := range e.files {
		err = errors.Join(err, f.Close())
	}
	e.files = nil
	err = errors.Join(err, e.fs.RemoveAll(e.dir))
	e.release()
	e.release = func() {}
	return err
}

// stopEvery is the number of keys after which an export checks whether it has to stop.
const stopEvery = 1024

var errExportStopped = errors.New("the shard's Raft instance ends")

// writeTables writes the shard's keys to tables. One iterator sees them all at one moment,
// the applied index among them; it keeps its view even when the range is replaced.
func (e *export) writeTables(sh *shared, stop <-chan struct{}) (err error) {
	it, err := sh.cfg.State.NewIter(&pebble.IterOptions{LowerBound: sh.lo, UpperBound: sh.hi})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	found := false // the applied index
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%stopEvery == 0 {
			select {
			case <-stop:
				return errExportStopped
			default:
			}
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !found && string(it.Key()) == string(sh.appliedKey) {
			if e.header.applied, err = decodeApplied(v); err != nil {
				return err
			}
			found = true
		}
		if mutant.SnapshotWithoutPending && isPending(sh.cfg.Machine, it.Key()) {
			continue
		}
		if err := e.writeKey(sh.cfg, it.Key(), v); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	if !found {
		return errNothing
	}
	return e.finishTable()
}

// writeKey adds a key to the table being written. It begins a table where there is none,
// and finishes one that is large enough.
func (e *export) writeKey(cfg *Config, key, value []byte) (err error) {
	if e.table == nil {
		if e.table, err = newTableWriter(cfg, cfg.FS.PathJoin(e.dir, tableName(len(e.header.files)))); err != nil {
			return err
		}
	}
	if err := e.table.w.Set(key, value); err != nil {
		return err
	}
	if e.table.w.Raw().EstimatedSize() >= cfg.Limits.TableBytes {
		return e.finishTable()
	}
	return nil
}

// finishTable completes the table being written, if there is one, and lists it in the
// header.
func (e *export) finishTable() error {
	t := e.table
	if t == nil {
		return nil
	}
	e.table = nil
	if err := t.w.Close(); err != nil {
		return err
	}
	if len(e.header.files) >= maxSnapFiles {
		return fmt.Errorf("more than %d files", maxSnapFiles)
	}
	f := snapFile{size: t.out.size}
	t.out.hash.Sum(f.sum[:0])
	e.header.files = append(e.header.files, f)
	return nil
}

type tableWriter struct {
	w   *sstable.Writer
	out *hashedFile
}

// newTableWriter begins a table. Its format can be ingested by any node whose state has
// our format version or a newer one.
func newTableWriter(cfg *Config, path string) (*tableWriter, error) {
	f, err := cfg.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	out := &hashedFile{File: f, hash: sha256.New()}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(out), sstable.WriterOptions{TableFormat: cfg.State.TableFormat()})
	return &tableWriter{w: w, out: out}, nil
}

// hashedFile is a file that hashes the bytes written to it. It is of no use after a
// failed write.
type hashedFile struct {
	vfs.File
	hash hash.Hash
	size uint64
}

func (h *hashedFile) Write(p []byte) (int, error) {
	h.hash.Write(p) // first, because a file may spoil the bytes that it is given
	h.size += uint64(len(p))
	return h.File.Write(p)
}

// isPending asks the machine whether key is that of a pending entry. Only the mutant
// SnapshotWithoutPending needs to know. The shard itself treats all keys alike.
func isPending(m Machine, key []byte) bool {
	p, ok := m.(interface{ IsPending(key []byte) bool })
	return ok && p.IsPending(key)
}
