package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/call"
	"millrace/command"
	"millrace/internal/tick"
	"millrace/placement"
	"millrace/stream"
)

const (
	// maxReserve and reserveShare set the reserve, the free space below which the disk counts
	// as nearly full: 1/20 of the disk, but at most 2 GiB.
	maxReserve   = 2 << 30
	reserveShare = 20
	// spaceInterval is the time between two checks of the free space.
	spaceInterval = time.Second
	// fullFor is the time for which the disk counts as nearly full after a flush or a
	// compaction has met a full disk.
	fullFor = 10 * time.Second
	// handOverInterval is the time between two attempts to hand over the leaderships of a
	// node whose disk is nearly full.
	handOverInterval = 5 * time.Second

	// ballastFile only takes up room. When the disk is full, an operator removes it, so that
	// the node has room to start and clients can delete data.
	ballastFile = "ballast"
	// ballastShare limits the ballast to 1/100 of the disk.
	ballastShare = 100
)

// space knows whether the disk has room. If the Raft log meets a full disk, the process
// ends. To avoid that, a node whose free space is below the reserve refuses commands that
// need room, and hands its leaderships to other nodes. It still follows other leaders, and
// still runs commands that delete.
type space struct {
	fs  vfs.FS
	dir string

	low    atomic.Bool   // whether the disk is nearly full
	fullAt atomic.Int64  // ns since the Unix epoch: the last flush that met a full disk
	free   atomic.Uint64 // free bytes at the last check
}

// reserveOf returns the reserve of a disk of total bytes.
func reserveOf(total uint64) uint64 { return min(total/reserveShare, maxReserve) }

// check reads the free space and sets low. It reports whether low has changed.
func (s *space) check(now time.Time) (changed bool, err error) {
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return false, err
	}
	s.free.Store(u.AvailBytes)
	reserve := reserveOf(u.TotalBytes)
	was := s.low.Load()
	if was {
		reserve += reserve / 8 // so that low does not change to and fro
	}
	low := u.AvailBytes < reserve || now.Sub(time.Unix(0, s.fullAt.Load())) < fullFor
	s.low.Store(low)
	return low != was, nil
}

// diskFull records that a flush or a compaction met a full disk.
func (s *space) diskFull(error) { s.fullAt.Store(time.Now().UnixNano()) }

// refuses reports whether c must be refused because the disk is nearly full.
func (s *space) refuses(c *call.Call) bool {
	return s.low.Load() && c.Kind == call.Write && c.Shard != placement.MetaShard && grows(c)
}

// grows reports whether any command of c needs more room. Those commands have the flag by
// which Redis refuses commands when its memory is full.
func grows(c *call.Call) bool {
	for _, argv := range c.Cmds {
		if len(argv) == 0 {
			continue
		}
		if cmd, _ := stream.Lookup(argv); cmd != nil && cmd.Is(command.DenyOOM) {
			return true
		}
	}
	return false
}

// watchSpace checks the free space until ctx ends. While the disk is nearly full, it hands
// over the leaderships of this node.
func (n *Node) watchSpace(ctx context.Context) error {
	t := time.NewTimer(tick.Until(spaceInterval))
	defer t.Stop()
	var handedOver time.Time
	for {
		changed, err := n.space.check(time.Now())
		low := n.space.low.Load()
		switch {
		case err != nil:
			n.log.Warn("the free space of the disk cannot be read", "error", err)
		case changed && low:
			n.log.Error("the disk is nearly full: commands that need room are refused", "free_bytes", n.space.free.Load())
			n.gossip.SetMeta(n.gossipMeta())
		case changed:
			n.log.Info("there is room on the disk again", "free_bytes", n.space.free.Load())
			n.gossip.SetMeta(n.gossipMeta())
		}
		if low && time.Since(handedOver) > handOverInterval {
			handedOver = time.Now()
			hctx, cancel := context.WithTimeout(ctx, transferTimeout)
			n.handOver(hctx)
			cancel()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			t.Reset(tick.Until(spaceInterval))
		}
	}
}

// layBallast creates the ballast file, unless it exists or the disk has little room.
func (n *Node) layBallast() {
	path := filepath.Join(n.cfg.DataDir, ballastFile)
	if _, err := os.Stat(path); n.cfg.BallastBytes == 0 || !errors.Is(err, os.ErrNotExist) {
		return
	}
	u, err := n.fs.GetDiskUsage(n.cfg.DataDir)
	if err != nil {
		return
	}
	size := min(uint64(n.cfg.BallastBytes), u.TotalBytes/ballastShare)
	if u.AvailBytes < 2*(size+reserveOf(u.TotalBytes)) {
		n.log.Warn("no ballast file was made: the disk has little room", "free_bytes", u.AvailBytes)
		return
	}
	f, err := n.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, int64(size)), f.Close())
	}
	if err != nil {
		n.log.Warn("no ballast file was made", "error", errors.Join(err, n.fs.RemoveAll(path)))
	}
}

// startRoom is the room that a start needs beside the bytes of the WALs, which it writes
// to tables.
const startRoom = 64 << 20

// spaceHint returns advice for the operator of a node whose disk is full.
func (n *Node) spaceHint() string {
	need := int64(startRoom)
	for _, db := range []string{raftlogDir, stateDir} {
		logs, _ := filepath.Glob(filepath.Join(n.cfg.DataDir, db, "*.log")) // fails for a bad pattern only
		for _, path := range logs {
			if st, err := os.Stat(path); err == nil {
				need += st.Size()
			}
		}
	}
	hint := fmt.Sprintf("make %d MiB of room on the disk of %s", (need+1<<20-1)>>20, n.cfg.DataDir)
	path := filepath.Join(n.cfg.DataDir, ballastFile)
	if _, err := os.Stat(path); err == nil {
		hint += fmt.Sprintf("; or remove %s, start the node, and delete streams that are not needed", path)
	}
	return hint
}
