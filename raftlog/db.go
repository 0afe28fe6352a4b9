package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/mutant"
	"millrace/raftlog/disk"
)

// formatVersion is the version of the key space and of all values in it.
const formatVersion = 1

// DefaultCacheBytes bounds the record cache when Options.CacheBytes is zero.
const DefaultCacheBytes = 64 << 20

var (
	// ErrLocked is returned by Open when the directory is already open, in another
	// process or in this one.
	ErrLocked = disk.ErrLocked
	// ErrNewerFormat is returned by Open when a newer version wrote the directory. No
	// record was changed.
	ErrNewerFormat = disk.ErrNewerFormat
	// ErrForeign is returned by Open when the directory holds a Pebble database that is
	// not a Raft log.
	ErrForeign = errors.New("raftlog: not a Raft log")
	// ErrClosed is returned by calls that begin after Close.
	ErrClosed = errors.New("raftlog: closed")
)

// Options configures a DB. The zero value works, but a server must set Fatal. Fields
// without a comment are those of disk.Options.
type Options struct {
	FS     vfs.FS
	Logger *slog.Logger
	Fatal  func(class disk.Class, err error)
	// CacheBytes bounds the records kept in memory, over all shards. Zero means
	// DefaultCacheBytes; a negative value disables the cache.
	CacheBytes      int64
	BlockCache      *pebble.Cache
	FileCache       *pebble.FileCache
	MemTableBytes   uint64
	MinSyncInterval time.Duration
	SlowAfter       time.Duration
	Events          disk.Events
	// OnSync is called after each synced commit with its duration, on the goroutine
	// that committed. Nil is not called.
	OnSync func(time.Duration)
	// RenderCommand describes the data of a command for Dump; nil quotes the first
	// 64 bytes.
	RenderCommand func(data []byte) string
}

// DB is the database with the Raft logs of a node. Its methods may be called from any
// goroutine.
type DB struct {
	pebble *disk.DB
	opts   Options
	cache  *cache
	syncs  syncs
	stats  stats

	batchBytes int // see maxBatchBytes

	// life is read-locked by every call that uses pebble, so that Close, which locks
	// it, waits for these calls.
	life   sync.RWMutex
	closed bool // guarded by life

	mu     sync.Mutex
	stores map[uint32]*Store // guarded by mu
}

type stats struct {
	records, recordBytes   atomic.Uint64
	cacheHits, cacheMisses atomic.Uint64
	truncations            atomic.Uint64
}

// Metrics holds counters, which start at zero with Open and only rise, and the gauges
// Stores, SyncPending and CacheBytes.
type Metrics struct {
	Pebble      *pebble.Metrics // nil after Close
	Stores      int             // shards in use
	Records     uint64          // records written
	RecordBytes uint64          // bytes of their values
	Syncs       uint64          // synced commits; several may share one fsync
	SyncTime    time.Duration   // their durations, added up
	SyncPending time.Duration   // age of the oldest synced commit under way
	Truncations uint64          // calls of DeleteRange that deleted something
	CacheBytes  int64           // size of the record cache
	CacheHits   uint64
	CacheMisses uint64
}

// Open opens the database in dir, and creates it if there is none. It returns
// ErrLocked, ErrNewerFormat, ErrForeign, or an error of Pebble, which disk.Classify
// sorts into classes.
func Open(dir string, o Options) (*DB, error) { return open(dir, o, false) }

// OpenReadOnly opens the database in dir for Dump, Shards and reading. It returns
// disk.ErrMissing when there is none, and ErrLocked while a server uses it. A write
// through it calls Options.Fatal.
func OpenReadOnly(dir string, o Options) (*DB, error) { return open(dir, o, true) }

func open(dir string, o Options, readOnly bool) (*DB, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = disk.DefaultMemTableBytes
	}
	if o.RenderCommand == nil {
		o.RenderCommand = printBytes
	}
	p, err := disk.Open(dir, disk.Options{
		Name:            "raftlog",
		FS:              o.FS,
		ReadOnly:        readOnly,
		Logger:          o.Logger,
		Fatal:           o.Fatal,
		Cache:           o.BlockCache,
		FileCache:       o.FileCache,
		MemTableBytes:   o.MemTableBytes,
		MinSyncInterval: o.MinSyncInterval,
		SlowAfter:       o.SlowAfter,
		Events:          o.Events,
		Tune: func(p *pebble.Options) {
			// Records are not compressed: they are deleted within minutes, so that
			// compression would cost more than it saves.
			for i := range p.Levels {
				p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
			}
		},
	})
	if err != nil {
		return nil, err
	}
	db := &DB{
		pebble:     p,
		opts:       o,
		cache:      newCache(o.CacheBytes),
		batchBytes: int(min(maxBatchBytes, o.MemTableBytes/4)),
		stores:     make(map[uint32]*Store),
	}
	if err := db.checkFormat(readOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("open raftlog database %s: %w", dir, err), p.Close())
	}
	return db, nil
}

// checkFormat compares the format key with this version's. It writes the key if the
// database is empty.
func (db *DB) checkFormat(readOnly bool) error {
	v, closer, err := db.pebble.Get(formatKey)
	switch {
	case err == nil:
		defer closer.Close()
		if len(v) != 4 {
			return fmt.Errorf("%w: format of %d bytes: %w", ErrForeign, len(v), disk.ErrCorrupt)
		}
		if got := binary.BigEndian.Uint32(v); got > formatVersion {
			return fmt.Errorf("%w: format %d, this version writes %d", ErrNewerFormat, got, formatVersion)
		} else if got < formatVersion {
			return fmt.Errorf("%w: format %d was never released", ErrForeign, got)
		}
		return nil
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	empty, err := db.empty()
	if err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: it has keys but no format key", ErrForeign)
	}
	if readOnly {
		return nil // its process ended between the creation and the format key
	}
	return db.pebble.Set(formatKey, binary.BigEndian.AppendUint32(nil, formatVersion), pebble.Sync)
}

func (db *DB) empty() (bool, error) {
	it, err := db.pebble.NewIter(nil)
	if err != nil {
		return false, err
	}
	some := it.First()
	return !some, errors.Join(it.Error(), it.Close())
}

// Store returns the store of a shard, the same one at each call. The first call reads
// the shard's bounds, vote and marker from disk, and may call Options.Fatal.
func (db *DB) Store(shard uint32) *Store {
	db.mu.Lock()
	defer db.mu.Unlock()
	s := db.stores[shard]
	if s == nil {
		s = &Store{db: db, shard: shard}
		s.load()
		db.stores[shard] = s
	}
	return s
}

// SyncPending returns the age of the oldest synced commit under way, or 0 when there is
// none. The age includes time spent waiting for room in the memtables.
func (db *DB) SyncPending() time.Duration { return db.syncs.pending(time.Now()) }

// Metrics returns the current counts.
func (db *DB) Metrics() Metrics {
	db.mu.Lock()
	stores := len(db.stores)
	db.mu.Unlock()
	m := Metrics{
		Stores:      stores,
		Records:     db.stats.records.Load(),
		RecordBytes: db.stats.recordBytes.Load(),
		SyncPending: db.SyncPending(),
		Truncations: db.stats.truncations.Load(),
		CacheBytes:  db.cache.size(),
		CacheHits:   db.stats.cacheHits.Load(),
		CacheMisses: db.stats.cacheMisses.Load(),
	}
	m.Syncs, m.SyncTime = db.syncs.totals()
	if db.enter() == nil {
		defer db.leave()
		m.Pebble = db.pebble.Metrics()
	}
	return m
}

// Close waits for the calls under way and closes the database. Stop Raft first, because
// calls that begin later return ErrClosed.
func (db *DB) Close() error {
	db.life.Lock()
	defer db.life.Unlock()
	if db.closed {
		return ErrClosed
	}
	db.closed = true
	return db.pebble.Close()
}

func (db *DB) enter() error {
	db.life.RLock()
	if db.closed {
		db.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (db *DB) leave() { db.life.RUnlock() }

// commit commits b and measures the time if o asks for a sync. A failure ends the
// process.
func (db *DB) commit(b *pebble.Batch, o *pebble.WriteOptions) {
	if !o.Sync {
		db.pebble.Commit(b, o)
		return
	}
	if mutant.LogNoSync {
		o = pebble.NoSync
	}
	f := db.syncs.begin(time.Now())
	db.pebble.Commit(b, o)
	took := db.syncs.end(f, time.Now())
	if db.opts.OnSync != nil {
		db.opts.OnSync(took)
	}
}

// fail ends the process because step, such as "load", failed for a shard.
func (db *DB) fail(shard uint32, step string, err error) {
	db.pebble.Fail(fmt.Errorf("shard %d: %s: %w", shard, step, err))
}
