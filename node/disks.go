package node

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
)

// Where a node's databases are, below its data directory.
const (
	raftlogDir = "raftlog"
	stateDir   = "state"
	stagingDir = "staging" // snapshots on their way out or in
)

// databases is how many a node has.
const databases = 2

// How the memory budget is divided; the rest is for what clients have in flight.
// Memtables may exist four at a time while flushes lag.
const (
	blockCacheShare = 8  // an eighth
	logCacheShare   = 8  // an eighth
	memTableShare   = 32 // each database
	minMemTable     = 4 << 20
	maxMemTable     = 64 << 20
)

// A log sync that hangs.
const (
	// stallWithhold is after how long this node stops behaving as a leader, so that
	// others take its shards over.
	stallWithhold = 2 * time.Second
	// stallExit is after how long the process ends: the disk is as good as gone.
	stallExit = 10 * time.Second
)

// disks are the two databases of a node: the Raft logs, synced, and the state, whose
// durability comes from the logs until a snapshot marker is written.
type disks struct {
	log   *raftlog.DB
	state *disk.DB
	cache *pebble.Cache

	awake  awake
	slowAt atomic.Int64 // ns since the Unix epoch: when an operation was last said to hang
}

func openDisks(fs vfs.FS, dir string, memory int64, logger *slog.Logger, fatal func(disk.Class, error), full func(error)) (*disks, error) {
	debug.SetMemoryLimit(memory)
	memTable := uint64(min(max(memory/memTableShare, minMemTable), maxMemTable))
	d := &disks{cache: disk.NewCache(memory/blockCacheShare, memTable, databases)}
	events := disk.Events{
		BackgroundError: full,
		Slow: func(operation string, took time.Duration) {
			d.slowAt.Store(time.Now().UnixNano())
			if took = d.awake.atMost(time.Now(), took); took > stallExit {
				fatal(disk.Failing, fmt.Errorf("%s has hung for %v", operation, took.Round(time.Second)))
			}
			logger.Warn("the disk is slow", "operation", operation, "for", took)
		},
	}
	var err error
	d.log, err = raftlog.Open(filepath.Join(dir, raftlogDir), raftlog.Options{
		FS: fs, Events: events, Logger: logger, Fatal: fatal, CacheBytes: memory / logCacheShare, BlockCache: d.cache, MemTableBytes: memTable,
		RenderCommand: shard.PrintRecord,
	})
	if err == nil {
		d.state, err = disk.Open(filepath.Join(dir, stateDir), disk.Options{
			Name: "state", FS: fs, Events: events, Logger: logger, Fatal: fatal, Cache: d.cache, MemTableBytes: memTable,
		})
	}
	if err != nil {
		return nil, errors.Join(diskFailure(err), d.close())
	}
	return d, nil
}

// checkComplete makes sure that a node which was in a cluster still has its logs. With
// its databases gone it would be a node without memory under a known ID, and could vote
// a second time where it has voted.
func (d *disks) checkComplete(dir string, id identity) error {
	if id.ClusterID == "" {
		return nil // its databases may be about to be made
	}
	shards, err := d.log.Shards()
	if err != nil {
		return diskFailure(err)
	}
	if !slices.Contains(shards, placement.MetaShard) {
		return &diskError{disk.Corrupt, fmt.Errorf("%s is of a node of cluster %.8s, and its databases are gone: restore them, or start with an empty directory", dir, id.ClusterID)}
	}
	return nil
}

// diskFailure gives err the class that it has as a failure of the disk. A refusal of
// the directory is none.
func diskFailure(err error) error {
	if errors.Is(err, disk.ErrLocked) || errors.Is(err, disk.ErrNewerFormat) {
		return err
	}
	if c := disk.Classify(err); c != disk.Failing || errors.Is(err, syscall.EIO) {
		return &diskError{c, err}
	}
	return err
}

func (d *disks) close() error {
	var errs []error
	if d.state != nil {
		errs = append(errs, d.state.Close())
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	d.cache.Unref()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close databases: %w", err)
	}
	return nil
}

// stalled reports whether a sync of the log, or an operation on any file of the
// databases, hangs. The latter is said every two seconds while it lasts.
func (d *disks) stalled() bool {
	return d.log.SyncPending() > stallWithhold || time.Since(time.Unix(0, d.slowAt.Load())) < stallWithhold+time.Second
}
