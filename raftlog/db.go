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

// DefaultCacheBytes is the entry cache's bound when Options does not give one.
const DefaultCacheBytes = 64 << 20

var (
	// ErrLocked: another process has the directory open, or this one a second time.
	ErrLocked = disk.ErrLocked
	// ErrNewerFormat: a newer version wrote the directory. No record was changed.
	ErrNewerFormat = disk.ErrNewerFormat
	// ErrForeign: the directory holds a Pebble database that is not a Raft log.
	ErrForeign = errors.New("raftlog: not a Raft log")
	// ErrClosed: the database was closed before the call.
	ErrClosed = errors.New("raftlog: closed")
)

// Options says how to open the logs. The zero value is usable, but for Fatal in a
// server. Fields that are not described here are those of disk.Options.
type Options struct {
	FS     vfs.FS
	Logger *slog.Logger
	Fatal  func(class disk.Class, err error)
	// CacheBytes bounds the records kept in memory, of all shards together. Zero is
	// DefaultCacheBytes, below zero is no cache.
	CacheBytes      int64
	BlockCache      *pebble.Cache
	MemTableBytes   uint64
	MinSyncInterval time.Duration
	SlowAfter       time.Duration
	Events          disk.Events
	// OnSync hears how long each synced commit took, on the goroutine that made it.
	OnSync func(time.Duration)
	// RenderCommand describes the data of a command for Dump; nil quotes its
	// beginning.
	RenderCommand func(data []byte) string
}

// DB is the Raft logs of a node.
type DB struct {
	pebble *disk.DB
	opts   Options
	cache  *cache
	syncs  syncs
	stats  stats

	batchBytes int // see maxBatchBytes

	// life is read-locked by every call that uses pebble; Close takes it for good.
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

// Metrics are a moment's counts. Those without a bound only rise.
type Metrics struct {
	Pebble      *pebble.Metrics
	Stores      int           // shards in use
	Records     uint64        // records written
	RecordBytes uint64        // bytes of their values
	Syncs       uint64        // synced commits, as many as calls: Pebble shares fsyncs among them
	SyncTime    time.Duration // that they took, added up
	SyncPending time.Duration // age of the oldest under way
	Truncations uint64
	CacheBytes  int64
	CacheHits   uint64
	CacheMisses uint64
}

// Open opens the logs in dir, or makes them. It returns ErrLocked, ErrNewerFormat,
// ErrForeign, or what Pebble says; disk.Classify tells the kind of the last.
func Open(dir string, o Options) (*DB, error) { return open(dir, o, false) }

// OpenReadOnly opens the logs in dir for Dump, Shards and reading. It fails with
// disk.ErrMissing when there are none, and with ErrLocked while a server runs. To
// write through it is a fatal error.
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
		MemTableBytes:   o.MemTableBytes,
		MinSyncInterval: o.MinSyncInterval,
		SlowAfter:       o.SlowAfter,
		Events:          o.Events,
		Tune: func(p *pebble.Options) {
			// Records live minutes: compressing them costs more than it saves.
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

// checkFormat reads the format key, and writes it into an empty database.
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
		return fmt.Errorf("%w: it has keys and no format", ErrForeign)
	}
	if readOnly {
		return nil // made, and stopped before its first use
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

// Store returns the part of a shard, the same one each time.
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

// SyncPending is the age of the oldest synced commit that is under way, 0 when
// there is none. Time spent waiting for room in the memtables counts.
func (db *DB) SyncPending() time.Duration { return db.syncs.pending(time.Now()) }

// Metrics returns what there is to tell.
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

// Close waits for calls under way and closes the database. Stop Raft first: a later
// call of a Store returns ErrClosed.
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

// commit commits b, and has only one way to fail: the process ends.
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

// fail ends the process because a shard's data cannot be read.
func (db *DB) fail(shard uint32, what string, err error) {
	db.pebble.Fail(fmt.Errorf("shard %d: %s: %w", shard, what, err))
}
