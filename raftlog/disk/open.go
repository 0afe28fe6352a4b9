package disk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrLocked: another process has the database open, or this one a second time.
	ErrLocked = errors.New("the data directory is in use by another process")
	// ErrNewerFormat: a newer version wrote it. Nothing was changed.
	ErrNewerFormat = errors.New("the data directory was written by a newer version")
	// ErrMissing: a read-only open found no database.
	ErrMissing = errors.New("no database in the data directory")
)

// DB is an open database. Close it, not the Pebble within.
type DB struct {
	*pebble.DB
	name  string
	dir   string
	files vfs.FS // where dir is, as the owner gave it
	fatal func(Class, error)
	armed atomic.Bool // a failing WAL is fatal: between Open and Close
	dying atomic.Bool // Fatal has been called
	lock  *pebble.Lock
	fs    io.Closer // of the slowness checks; nil without them
}

// Open opens the database in dir, and makes both when they do not exist. Beyond
// the named errors of this package it returns Pebble's; Classify tells their kind.
// Failures after Open go to o.Fatal.
func Open(dir string, o Options) (*DB, error) {
	db, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open %s database %s: %w", o.Name, dir, err)
	}
	return db, nil
}

func open(dir string, o Options) (_ *DB, err error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("db", o.Name)
	if o.Fatal == nil {
		o.Fatal = func(class Class, err error) { panic(fmt.Errorf("%v: %w", class, err)) }
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	if o.MaxOpenFiles == 0 {
		o.MaxOpenFiles = DefaultMaxOpenFiles
	}
	if o.SlowAfter == 0 {
		o.SlowAfter = DefaultSlowAfter
	}
	if o.ReadOnly {
		if _, err := o.FS.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
	} else if err := mkdirSynced(o.FS, dir); err != nil {
		return nil, err
	}

	db := &DB{name: o.Name, dir: dir, files: o.FS, fatal: o.Fatal}
	db.lock, err = pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, lockError(err)
	}
	defer func() {
		if err != nil {
			_ = db.release()
		}
	}()
	// Look before Pebble opens: it would raise an older format and refuse only
	// what it cannot read at all.
	desc, err := pebble.Peek(dir, o.FS)
	if err != nil {
		return nil, openError(err)
	}
	if desc.FormatMajorVersion > Format {
		return nil, fmt.Errorf("%w: Pebble format %v, this version writes %v", ErrNewerFormat, desc.FormatMajorVersion, Format)
	}
	if o.ReadOnly && !desc.Exists {
		return nil, ErrMissing
	}
	if desc.Exists {
		if err := checkManifest(o.FS, desc.ManifestFilename); err != nil {
			return nil, err
		}
	}

	if !o.ReadOnly {
		o.FS = &walFS{FS: o.FS, armed: &db.armed, fail: db.Fail}
	}
	if slow := o.Events.Slow; slow != nil && !o.ReadOnly {
		o.FS, db.fs = vfs.WithDiskHealthChecks(o.FS, o.SlowAfter, nil, func(i vfs.DiskSlowInfo) {
			slow(fmt.Sprintf("%s %s", i.OpType, o.FS.PathBase(i.Path)), i.Duration)
		})
	}
	opts := o.pebbleOptions(db.Fail)
	opts.Lock = db.lock
	db.DB, err = pebble.Open(dir, opts)
	if err != nil {
		return nil, openError(err)
	}
	if desc.FormatMajorVersion < Format && !o.ReadOnly {
		// Pebble makes a new database in its oldest format and raises it afterwards.
		// The WAL it has open keeps the old format, without the sync chunks that tell
		// damage from the end. So let it begin another.
		if err := db.DB.Close(); err != nil {
			return nil, err
		}
		if db.DB, err = pebble.Open(dir, opts); err != nil {
			return nil, openError(err)
		}
	}
	db.armed.Store(true)
	return db, nil
}

// Fail ends the process because of err: it classifies, calls Options.Fatal, and
// does not return. Every failed read or write of the database goes here.
func (db *DB) Fail(err error) {
	db.dying.Store(true)
	err = fmt.Errorf("%s database: %w", db.name, err)
	db.fatal(Classify(err), err)
	panic(fmt.Errorf("disk: Fatal returned after: %w", err))
}

// Commit commits b, synced or not; it returns once that is done. Its only other
// end is Fail.
func (db *DB) Commit(b *pebble.Batch, o *pebble.WriteOptions) {
	defer func() {
		// A panic out of Fatal itself passes through.
		if p := recover(); p != nil {
			if db.dying.Load() {
				panic(p)
			}
			if err, ok := p.(error); ok {
				db.Fail(fmt.Errorf("commit: %w", err))
			}
			db.Fail(fmt.Errorf("commit: %v", p))
		}
	}()
	if err := db.Apply(b, o); err != nil {
		db.Fail(fmt.Errorf("commit: %w", err))
	}
}

// Close closes the database and gives the directory free. Iterators and snapshots
// must have been closed.
func (db *DB) Close() error {
	db.armed.Store(false)
	err := db.DB.Close()
	return errors.Join(err, db.release())
}

func (db *DB) release() error {
	var err error
	if db.fs != nil {
		err = db.fs.Close()
	}
	return errors.Join(err, db.lock.Close())
}

// lockError tells a lock that is held from a lock file that cannot be made. The
// first comes as a bare error number from fcntl, or as a text when this process
// holds it; the second as a path error.
func lockError(err error) error {
	var path *os.PathError
	held := errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES)
	if held && !errors.As(err, &path) || strings.Contains(err.Error(), "lock held by current process") {
		return fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	return fmt.Errorf("lock: %w", err)
}

// openError gives Pebble's refusals of a database their names: of a format that it does
// not know, and of a table that is gone or of another length than the MANIFEST says,
// which Pebble does not call corruption. Their texts are all that tells them.
func openError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "unknown format major version"):
		return fmt.Errorf("%w (%w)", ErrNewerFormat, err)
	case strings.Contains(text, "object size mismatch"), strings.Contains(text, "unknown to the objstorage provider"):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// mkdirSynced makes dir, and syncs each directory that got a new entry, so that a
// power cut does not take the database away with its name.
func mkdirSynced(fs vfs.FS, dir string) error {
	var parents []string
	for d := dir; ; {
		if _, err := fs.Stat(d); err == nil {
			break
		}
		up := fs.PathDir(d)
		if up == d {
			break
		}
		parents = append(parents, up)
		d = up
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, p := range parents {
		if p == "" {
			p = "."
		}
		f, err := fs.OpenDir(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
