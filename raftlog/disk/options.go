package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Format is the Pebble format version of every database of a node. Pebble's own
// default is the oldest it knows. This one includes WAL sync chunks, with which
// replay tells a flipped bit from a torn tail (without them a flipped bit may pass
// for the end of the log, and acknowledged writes vanish), virtual sstables and
// flushable excises, sized deletes, and checksummed sstable footers. It excludes
// value separation, which Pebble does not yet turn on itself.
//
// Raising it makes data directories unreadable to older versions.
const Format = pebble.FormatTableFormatV6

// Defaults of Options.
const (
	DefaultMemTableBytes = 32 << 20
	DefaultCacheBytes    = 8 << 20
	DefaultMaxOpenFiles  = 1000
	DefaultSlowAfter     = 2 * time.Second
)

// steadyMemTables is how many memtables a database that is written to keeps: the one
// that fills, and one that is being flushed or is kept to be filled next.
const steadyMemTables = 2

// NewCache returns a cache for databases with memtables of memTableBytes, whose owner
// calls Unref. It holds blockBytes of blocks, less while flushes lag. Pebble takes the
// room of memtables out of the cache: one of blockBytes alone may hold no block at all,
// and every read would then decompress what it reads.
func NewCache(blockBytes int64, memTableBytes uint64, databases int) *pebble.Cache {
	return pebble.NewCache(cacheSize(blockBytes, memTableBytes, databases))
}

func cacheSize(blockBytes int64, memTableBytes uint64, databases int) int64 {
	return blockBytes + int64(databases*steadyMemTables)*int64(memTableBytes)
}

// Options says how to open a database. Only Fatal must be set.
type Options struct {
	// Name tells the databases of a node apart in logs and errors.
	Name string
	// FS is where the database lives; nil is vfs.Default.
	FS vfs.FS
	// ReadOnly opens without changing anything but the lock file.
	ReadOnly bool
	// Logger gets Pebble's errors, and at debug level what it does; nil is none.
	Logger *slog.Logger
	// Fatal ends the process with class.ExitCode(). It is called from any
	// goroutine, Pebble's own included, with its locks held: it must not touch the
	// database. It must not return; when it does, the caller panics. A test may
	// record the failure and block (select {}), which is what a process that is
	// about to end looks like; the database, and whoever waits for it, is then to
	// be dropped. To panic or Goexit out of it unwinds through Pebble, which may
	// crash on that. Nil panics with the error.
	Fatal func(class Class, err error)
	// Cache holds uncompressed blocks and may be shared by databases: see NewCache. Nil
	// gives the database DefaultCacheBytes of its own.
	Cache *pebble.Cache
	// MemTableBytes is the size of one memtable, and so of a WAL file; up to four
	// exist while flushes lag. Zero is DefaultMemTableBytes.
	MemTableBytes uint64
	// MaxOpenFiles bounds the sstables kept open. Zero is DefaultMaxOpenFiles.
	MaxOpenFiles int
	// MinSyncInterval delays WAL syncs to gather more commits: for slow disks.
	// Zero does not delay.
	MinSyncInterval time.Duration
	// SlowAfter is how long one file operation may take before Events.Slow hears
	// of it. Zero is DefaultSlowAfter.
	SlowAfter time.Duration
	Events    Events
	// Tune has the last word on Pebble's options.
	Tune func(*pebble.Options)
}

// Events are told what a database goes through. They are called from Pebble's
// goroutines with its locks held: they must not block, do I/O, or touch the
// database. Nil ones are skipped.
type Events struct {
	// BackgroundError: the disk was too full for a flush or a compaction. Pebble
	// tries again; writes stall when it keeps failing.
	BackgroundError func(err error)
	// LowSpace: the disk's free space fell under percent of its size.
	LowSpace func(availBytes uint64, percent int)
	// Slow: one file operation has been under way for d. Repeated every two
	// seconds while it lasts.
	Slow func(operation string, d time.Duration)
	// Stall: writes began (true) or ceased to be held up by flushes or compactions.
	Stall func(begin bool, reason string)
}

// pebbleOptions returns Pebble's options for o, whose defaults are filled in.
func (o *Options) pebbleOptions(fail func(error)) *pebble.Options {
	p := &pebble.Options{
		FS:                          o.FS,
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          Format,
		Cache:                       o.Cache,
		CacheSize:                   cacheSize(DefaultCacheBytes, o.MemTableBytes, 1),
		MaxOpenFiles:                o.MaxOpenFiles,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Pebble counts each sublevel twice: a compaction starts at eight of them, and so
		// moves eight flushes down at once.
		L0CompactionThreshold: 16,
		L0StopWritesThreshold: 32,
		LBaseMaxBytes:         64 << 20,
		// Space of deleted runs of keys comes back soon even when writes are few.
		FlushDelayDeleteRange: 10 * time.Second,
		CompactionConcurrencyRange: func() (int, int) {
			return 1, max(2, runtime.GOMAXPROCS(0)/2)
		},
	}
	if o.MinSyncInterval > 0 {
		p.WALMinSyncInterval = func() time.Duration { return o.MinSyncInterval }
	}
	p.Logger = pebbleLogger{log: o.Logger, fail: fail}
	p.EventListener = o.eventListener(fail)
	if o.Tune != nil {
		o.Tune(p)
	}
	return p
}

func (o *Options) eventListener(fail func(error)) *pebble.EventListener {
	l := &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			fail(fmt.Errorf("%w: %s: %w", ErrCorrupt, i.Path, i.Details))
		},
		BackgroundError: func(err error) {
			if errors.Is(err, pebble.ErrCancelledCompaction) {
				return
			}
			// Only a full disk is worth trying again: after a failed fsync the
			// kernel may have dropped what a second one would report as written.
			if Classify(err) != Full {
				fail(fmt.Errorf("in the background: %w", err))
			}
			o.Logger.Error("disk full, will be tried again", "error", err)
			if o.Events.BackgroundError != nil {
				o.Events.BackgroundError(err)
			}
		},
		LowDiskSpace: func(i pebble.LowDiskSpaceInfo) {
			o.Logger.Warn("disk space is low", "available", i.AvailBytes, "under_percent", i.PercentThreshold)
			if o.Events.LowSpace != nil {
				o.Events.LowSpace(i.AvailBytes, i.PercentThreshold)
			}
		},
		FlushEnd: func(i pebble.FlushInfo) {
			if i.Done {
				o.Logger.Debug(i.String())
			}
		},
		CompactionEnd: func(i pebble.CompactionInfo) { o.Logger.Debug(i.String()) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			o.Logger.Warn("writes are held up", "reason", i.Reason)
			if o.Events.Stall != nil {
				o.Events.Stall(true, i.Reason)
			}
		},
		WriteStallEnd: func() {
			if o.Events.Stall != nil {
				o.Events.Stall(false, "")
			}
		},
	}
	return l
}

// pebbleLogger is Pebble's view of our log. What Pebble calls info is of use only
// to somebody who debugs Pebble.
type pebbleLogger struct {
	log  *slog.Logger
	fail func(error)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...))
}

// Fatalf keeps the error among args, so that its class can still be told.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, a := range args {
		if err, ok := a.(error); ok {
			l.fail(&fatalError{text, err})
		}
	}
	l.fail(errors.New(text))
}

// fatalError is a message of Pebble with the error it was made from.
type fatalError struct {
	text string
	err  error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.err }
