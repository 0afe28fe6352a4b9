package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrLocked is returned by Open when the database is already open, in another process
	// or in this one.
	ErrLocked = errors.New("the data directory is in use by another process")
	// ErrNewerFormat is returned by Open when a newer version wrote the database. Nothing
	// was changed.
	ErrNewerFormat = errors.New("the data directory was written by a newer version")
	// ErrMissing is returned by a read-only Open when there is no database.
	ErrMissing = errors.New("no database in the data directory")
)

// DB is an open database. Close the DB rather than the pebble.DB inside.
type DB struct {
	*pebble.DB
	name  string
	dir   string
	files vfs.FS // Options.FS, without the wrappers around it
	fatal func(Class, error)
	armed atomic.Bool // set between Open and Close, when a failing WAL is fatal
	dying atomic.Bool // Fatal has been called
	lock  *pebble.Lock
	slow  io.Closer // stops the reports of slow operations; nil without them
}

// Open opens the database in dir, and creates directory and database if they do not
// exist. It returns the named errors of this package, or an error of Pebble, which
// Classify sorts into classes. Failures after Open go to o.Fatal.
func Open(dir string, o Options) (*DB, error) {
	db, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open %s database %s: %w", o.Name, dir, err)
	}
	return db, nil
}

func open(dir string, o Options) (_ *DB, err error) {
	o.setDefaults()
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
	format, err := inspect(dir, o)
	if err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		o.FS = db.watch(o)
	}
	if err := db.openPebble(o, format); err != nil {
		return nil, err
	}
	db.armed.Store(true)
	return db, nil
}

// inspect checks the database in dir before Pebble opens it, and returns its format, 0
// for a directory without a database. Pebble alone would raise an older format at once,
// refuse only a format that it does not know at all, and trust a damaged manifest.
func inspect(dir string, o Options) (pebble.FormatMajorVersion, error) {
	desc, err := pebble.Peek(dir, o.FS)
	if err != nil {
		return 0, openError(err)
	}
	if desc.FormatMajorVersion > Format {
		return 0, fmt.Errorf("%w: Pebble format %v, this version writes %v", ErrNewerFormat, desc.FormatMajorVersion, Format)
	}
	if o.ReadOnly && !desc.Exists {
		return 0, ErrMissing
	}
	if desc.Exists {
		if err := checkManifest(o.FS, desc.ManifestFilename); err != nil {
			return 0, err
		}
	}
	return desc.FormatMajorVersion, nil
}

// watch wraps o.FS, so that failures of the WAL go to db.Fail, and slow operations to
// o.Events.Slow.
func (db *DB) watch(o Options) vfs.FS {
	var fs vfs.FS = &walFS{FS: o.FS, armed: &db.armed, fail: db.Fail}
	if slow := o.Events.Slow; slow != nil {
		fs, db.slow = vfs.WithDiskHealthChecks(fs, o.SlowAfter, nil, func(i vfs.DiskSlowInfo) {
			slow(fmt.Sprintf("%s %s", i.OpType, o.FS.PathBase(i.Path)), i.Duration)
		})
	}
	return fs
}

// openPebble opens the database, whose files have the given format.
func (db *DB) openPebble(o Options, format pebble.FormatMajorVersion) (err error) {
	opts := o.pebbleOptions(db.Fail, db.armed.Load)
	opts.Lock = db.lock
	if db.DB, err = pebble.Open(db.dir, opts); err != nil {
		return openError(err)
	}
	if format >= Format || o.ReadOnly {
		return nil
	}
	// Pebble creates a new database in its oldest format and raises the format
	// afterwards. Its open WAL keeps the old format, which has no sync chunks to tell
	// damage from a torn tail. A second opening begins a new WAL.
	if err := db.DB.Close(); err != nil {
		return err
	}
	if db.DB, err = pebble.Open(db.dir, opts); err != nil {
		return openError(err)
	}
	return nil
}

// Fail ends the process because of err: it calls Options.Fatal with the class of err,
// and does not return. Every failed read or write of the database ends here.
func (db *DB) Fail(err error) {
	db.dying.Store(true)
	err = fmt.Errorf("%s database: %w", db.name, err)
	db.fatal(Classify(err), err)
	panic(fmt.Errorf("disk: Fatal returned after: %w", err))
}

// Commit commits b, with a sync if o asks for it, and returns once that is done. A
// failure ends in Fail.
func (db *DB) Commit(b *pebble.Batch, o *pebble.WriteOptions) {
	defer func() {
		// Pebble panics when its WAL fails. A panic of Fatal itself passes through.
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

// Close closes the database and unlocks the directory. All iterators and views must be
// closed before.
func (db *DB) Close() error {
	db.armed.Store(false)
	err := db.DB.Close()
	return errors.Join(err, db.release())
}

// release stops the reports of slow operations and unlocks the directory.
func (db *DB) release() error {
	var err error
	if db.slow != nil {
		err = db.slow.Close()
	}
	return errors.Join(err, db.lock.Close())
}

// lockError returns ErrLocked if the lock is held, and not if the lock file cannot be
// created. When another process holds the lock, fcntl returns a bare error number; when
// this process does, Pebble returns a text. A lock file that cannot be created gives a
// path error.
func lockError(err error) error {
	var path *os.PathError
	held := errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES)
	if held && !errors.As(err, &path) || strings.Contains(err.Error(), "lock held by current process") {
		return fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	return fmt.Errorf("lock: %w", err)
}

// openError wraps Pebble's refusals to open a database in errors of this package: an
// unknown format in ErrNewerFormat, and a table that is missing or has another length
// than in the manifest in ErrCorrupt. Pebble does not mark the latter as corruption, so
// only the texts show these cases.
func openError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "unknown format major version"):
		return fmt.Errorf("%w (%w)", ErrNewerFormat, err)
	case strings.Contains(text, "object size mismatch"), strings.Contains(text, "unknown to the objstorage provider"):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// mkdirSynced creates dir and its missing parents. It syncs each directory that got a new
// entry, because otherwise a power cut could remove the entry, and the database with it.
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
