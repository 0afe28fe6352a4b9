package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Format is the Pebble format version of every database of a node. Pebble would
// otherwise take the oldest version that it knows. This version includes
//
//   - WAL sync chunks, by which replay tells a flipped bit from a torn tail. Without
//     them, a flipped bit may look like the end of the log, and acknowledged writes are
//     lost;
//   - virtual sstables, flushable excises, sized deletes, checksummed sstable footers.
//
// It excludes value separation, which Pebble itself does not turn on yet. A higher
// Format makes data directories unreadable to older versions of Millrace.
const Format = pebble.FormatTableFormatV6

// Defaults of Options.
const (
	DefaultMemTableBytes = 32 << 20
	DefaultCacheBytes    = 8 << 20
	DefaultSlowAfter     = 2 * time.Second
)

// maxOpenFiles is about the number of files that a database without Options.FileCache
// keeps open.
const maxOpenFiles = 1000

// steadyMemTables is the number of memtables that a database under writes holds: one
// that is being filled, and one that is being flushed or waits to be filled next.
const steadyMemTables = 2

// NewCache returns a cache for a number of databases with memtables of memTableBytes.
// The caller owns it and calls Unref. It holds blockBytes of blocks, less while flushes
// lag.
//
// Pebble reserves the memtables' memory within the cache, so the cache is larger than
// blockBytes: 8 MiB of blocks for two databases with memtables of 32 MiB need a cache of
// 8 + 2×2×32 = 136 MiB. A cache of 8 MiB may hold no block at all, and every read would
// decompress its block again.
func NewCache(blockBytes int64, memTableBytes uint64, databases int) *pebble.Cache {
	return pebble.NewCache(cacheSize(blockBytes, memTableBytes, databases))
}

func cacheSize(blockBytes int64, memTableBytes uint64, databases int) int64 {
	return blockBytes + int64(databases*steadyMemTables)*int64(memTableBytes)
}

// Options configures a database. The zero value works, but a server must set Fatal.
type Options struct {
	// Name tells the databases of a node apart in logs and errors.
	Name string
	// FS is the file system of the database. Nil means vfs.Default.
	FS vfs.FS
	// ReadOnly opens the database without changing any file except the lock file.
	ReadOnly bool
	// Logger gets Pebble's errors and, at debug level, its activity. Nil discards both.
	Logger *slog.Logger
	// Fatal ends the process with class.ExitCode(). Any goroutine may call it, including
	// Pebble's while they hold locks, so it must not touch the database. It must not
	// return; if it does, the caller panics.
	//
	// In a test, Fatal may record the failure and block (select {}), as if the process
	// were about to end. The test must then drop the database and all goroutines that
	// wait for it. A panic or Goexit in Fatal unwinds through Pebble, which may crash.
	//
	// Nil panics with the error.
	Fatal func(class Class, err error)
	// Cache holds uncompressed blocks. Databases may share it; see NewCache. Nil gives
	// the database a cache of its own, with DefaultCacheBytes of blocks.
	Cache *pebble.Cache
	// MemTableBytes is the size of a memtable, and therefore of a WAL file. Up to four
	// memtables exist while flushes lag. Zero means DefaultMemTableBytes.
	MemTableBytes uint64
	// FileCache holds the sstables kept open, and bounds their number. Databases may share
	// it. Nil gives the database one of its own, for maxOpenFiles files.
	FileCache *pebble.FileCache
	// MinSyncInterval is the least time between two syncs of the WAL. On a slow disk, a
	// value above zero lets more commits share a sync. Zero does not delay syncs.
	MinSyncInterval time.Duration
	// SlowAfter is the duration after which a file operation is reported to
	// Events.Slow. Zero means DefaultSlowAfter.
	SlowAfter time.Duration
	Events    Events
	// Tune, unless nil, may change Pebble's options before they are used.
	Tune func(*pebble.Options)
}

// setDefaults replaces zero values by their defaults.
func (o *Options) setDefaults() {
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
	if o.SlowAfter == 0 {
		o.SlowAfter = DefaultSlowAfter
	}
}

// Events are callbacks about the condition of a database. Pebble's goroutines call them
// while they hold locks, so they must not block, do I/O, or touch the database. Nil ones
// are not called.
type Events struct {
	// BackgroundError reports that the disk was too full for a flush or a compaction.
	// Pebble retries. Writes stall if it keeps failing.
	BackgroundError func(err error)
	// LowSpace reports that the disk's free space fell below percent of its size.
	LowSpace func(availBytes uint64, percent int)
	// Slow reports that a file operation has been under way for d. It is called again
	// every two seconds until the operation ends.
	Slow func(operation string, d time.Duration)
	// Stall reports that flushes or compactions begin (true) or cease (false) to hold
	// up writes. reason is empty at the end.
	Stall func(begin bool, reason string)
}

// pebbleOptions returns Pebble's options for o, after setDefaults. fail ends the process,
// and opened reports whether the database is open.
func (o *Options) pebbleOptions(fail func(error), opened func() bool) *pebble.Options {
	p := &pebble.Options{
		FS:                          o.FS,
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          Format,
		Cache:                       o.Cache,
		CacheSize:                   cacheSize(DefaultCacheBytes, o.MemTableBytes, 1),
		FileCache:                   o.FileCache,
		MaxOpenFiles:                maxOpenFiles,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Pebble counts each sublevel twice, so a compaction starts at eight sublevels
		// and moves eight flushes down at once.
		L0CompactionThreshold: 16,
		L0StopWritesThreshold: 32,
		LBaseMaxBytes:         64 << 20,
		// A range delete is flushed after 10 s, so that its space is freed soon even
		// when there are few writes.
		FlushDelayDeleteRange: 10 * time.Second,
		CompactionConcurrencyRange: func() (int, int) {
			return 1, max(2, runtime.GOMAXPROCS(0)/2)
		},
	}
	if o.MinSyncInterval > 0 {
		p.WALMinSyncInterval = func() time.Duration { return o.MinSyncInterval }
	}
	p.Logger = pebbleLogger{log: o.Logger, fail: fail}
	p.EventListener = o.eventListener(fail, opened)
	if o.Tune != nil {
		o.Tune(p)
	}
	return p
}

func (o *Options) eventListener(fail func(error), opened func() bool) *pebble.EventListener {
	var repeats repeatLimit
	l := &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			fail(fmt.Errorf("%w: %s: %w", ErrCorrupt, i.Path, i.Details))
		},
		BackgroundError: func(err error) {
			if errors.Is(err, pebble.ErrCancelledCompaction) {
				return
			}
			// Only after a full disk, or where a file could not be opened, may Pebble retry.
			// After a failed fsync, the kernel may have dropped data that a second fsync
			// would report as written.
			class := Classify(err)
			// An open that waits for room would wait for ever, because nobody can delete
			// anything meanwhile.
			if class != Full && class != Starved || !opened() {
				fail(fmt.Errorf("in the background: %w", err))
			}
			// Pebble retries a hundred times a second.
			if skipped, ok := repeats.allow(time.Now()); ok {
				o.Logger.Error(class.String()+", Pebble will retry", "error", err, "not_logged", skipped)
			}
			if class == Full && o.Events.BackgroundError != nil {
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

// repeatLimit lets one message in repeatEvery through.
type repeatLimit struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

const repeatEvery = 5 * time.Second

// allow reports whether a message may be logged now, and how many were not logged since
// the last one.
func (l *repeatLimit) allow(now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last) < repeatEvery {
		l.skipped++
		return 0, false
	}
	skipped, l.last, l.skipped = l.skipped, now, 0
	return skipped, true
}

// pebbleLogger writes Pebble's messages to our log. Its info messages are logged at debug
// level, because they only help to debug Pebble itself.
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

// Fatalf calls fail with the message. The error among args, if any, is wrapped, so that
// Classify can find its class.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, a := range args {
		if err, ok := a.(error); ok {
			l.fail(&fatalError{text, err})
		}
	}
	l.fail(errors.New(text))
}

// fatalError is a message of Pebble and the error that it was formatted from.
type fatalError struct {
	text string
	err  error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.err }
