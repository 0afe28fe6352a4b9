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

// Directories below the data directory.
const (
	raftlogDir = "raftlog"
	stateDir   = "state"
	stagingDir = "staging" // snapshots that are being sent or received
)

// databases is the number of databases of a node.
const databases = 2

// Each share is one part in so many of the memory budget. With 512 MiB, the block cache and
// the log cache have 64 MiB each, and a memtable 16 MiB; the rest is for commands and
// replies in flight. A database may have four memtables while its flushes lag.
const (
	blockCacheShare = 8
	logCacheShare   = 8
	memTableShare   = 32 // for each database
	minMemTable     = 4 << 20
	maxMemTable     = 64 << 20
)

// disks are the two databases of a node. Every write to the Raft logs is synced. A write
// to the state is not: until a snapshot marker makes the state durable, the logs can
// restore it.
type disks struct {
	log   *raftlog.DB
	state *disk.DB
	cache *pebble.Cache
	files *pebble.FileCache

	awake  awake
	slowAt atomic.Int64 // ns since the Unix epoch: the last report that an operation hangs
}

// diskBudget is what the databases of a node may use.
type diskBudget struct {
	memory int64 // bytes, of which they take their shares
	tables int   // sstables kept open
}

// openDisks opens both databases below dir. fatal is called when a database fails and must not
// return; full is called when a flush or a compaction met a full disk.
func openDisks(fs vfs.FS, dir string, budget diskBudget, logger *slog.Logger, fatal func(disk.Class, error), full func(error)) (*disks, error) {
	memory := budget.memory
	debug.SetMemoryLimit(memory)
	memTable := uint64(min(max(memory/memTableShare, minMemTable), maxMemTable))
	d := &disks{cache: disk.NewCache(memory/blockCacheShare, memTable, databases), files: pebble.NewFileCache(1, budget.tables)}
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
		FS: fs, Events: events, Logger: logger, Fatal: fatal, CacheBytes: memory / logCacheShare, BlockCache: d.cache, FileCache: d.files, MemTableBytes: memTable,
		RenderCommand: shard.PrintRecord,
	})
	if err == nil {
		d.state, err = disk.Open(filepath.Join(dir, stateDir), disk.Options{
			Name: "state", FS: fs, Events: events, Logger: logger, Fatal: fatal, Cache: d.cache, FileCache: d.files, MemTableBytes: memTable,
		})
	}
	if err != nil {
		return nil, errors.Join(diskFailure(err), d.close())
	}
	return d, nil
}

// checkComplete returns an error if a node that was in a cluster has lost its logs. Such a
// node would have forgotten its votes, and could vote a second time in the same term.
func (d *disks) checkComplete(dir string, id identity) error {
	if id.ClusterID == "" {
		return nil // a first start may have ended before it created the databases
	}
	shards, err := d.log.Shards()
	if err != nil {
		return diskFailure(err)
	}
	if !slices.Contains(shards, placement.MetaShard) {
		return &diskError{disk.Corrupt, fmt.Errorf("%s belongs to a node of cluster %.8s, but its databases are gone: restore them, or start with an empty directory", dir, id.ClusterID)}
	}
	return nil
}

// diskFailure wraps err as a diskError with its class. It returns err unchanged if err does
// not prove a failure of the disk, such as that of a locked directory.
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
	d.files.Unref()
	d.cache.Unref()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close databases: %w", err)
	}
	return nil
}

// stalled reports whether a sync of the log, or an operation on any file of the databases,
// hangs. Pebble reports a hanging operation about every two seconds, so a report counts for
// one second longer than that.
func (d *disks) stalled() bool {
	return d.log.SyncPending() > stallWithhold || time.Since(time.Unix(0, d.slowAt.Load())) < stallWithhold+time.Second
}
