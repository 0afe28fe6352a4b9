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
	// maxReserve bounds the reserve: free space below which a node takes no more. It is
	// a twentieth of the disk where that is less.
	maxReserve   = 2 << 30
	reserveShare = 20
	// spaceEvery is how often the free space is looked at.
	spaceEvery = time.Second
	// fullFor is for how long a flush or a compaction that met a full disk counts.
	fullFor = 10 * time.Second
	// handOverEvery is how often a node that has no space tries to get rid of what it leads.
	handOverEvery = 5 * time.Second

	// ballastFile is kept for the day that the disk is full: removing it gives the node
	// the room that it needs to start and have something deleted.
	ballastFile = "ballast"
	// ballastShare bounds the ballast: one in so many bytes of the disk.
	ballastShare = 100
)

// space knows whether the disk has room. A Raft log that meets a full disk ends the
// process. Before that, below the reserve, the node refuses commands that need more
// memory or disk and hands its leaderships to nodes that have room; it goes on
// following, and takes commands that delete.
type space struct {
	fs  vfs.FS
	dir string

	low    atomic.Bool
	fullAt atomic.Int64 // ns since the Unix epoch: when a flush last met a full disk
	free   atomic.Uint64
}

// reserveOf returns the reserve of a disk of so many bytes.
func reserveOf(total uint64) uint64 { return min(total/reserveShare, maxReserve) }

// look reads the free space, and reports whether it has become low, or has ceased to be.
func (s *space) look(now time.Time) (changed bool, err error) {
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return false, err
	}
	s.free.Store(u.AvailBytes)
	reserve := reserveOf(u.TotalBytes)
	was := s.low.Load()
	if was {
		reserve += reserve / 8 // so that it does not go to and fro
	}
	low := u.AvailBytes < reserve || now.Sub(time.Unix(0, s.fullAt.Load())) < fullFor
	s.low.Store(low)
	return low != was, nil
}

// diskFull notes that a flush or a compaction met a full disk.
func (s *space) diskFull(error) { s.fullAt.Store(time.Now().UnixNano()) }

// refuses reports whether c is to be refused for want of space.
func (s *space) refuses(c *call.Call) bool {
	return s.low.Load() && c.Kind == call.Write && c.Shard != placement.MetaShard && grows(c)
}

// grows reports whether a command of c is of those that need more room, by the flag that
// Redis refuses commands by when its memory is full.
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

// watchSpace looks at the disk until ctx ends.
func (n *Node) watchSpace(ctx context.Context) error {
	t := time.NewTimer(tick.Until(spaceEvery))
	defer t.Stop()
	var handedOver time.Time
	for {
		changed, err := n.space.look(time.Now())
		low := n.space.low.Load()
		switch {
		case err != nil:
			n.log.Warn("the free space cannot be read", "error", err)
		case changed && low:
			n.log.Error("the disk is nearly full: commands that need room are refused", "free_bytes", n.space.free.Load())
			n.gossip.SetMeta(n.gossipMeta())
		case changed:
			n.log.Info("there is room on the disk again", "free_bytes", n.space.free.Load())
			n.gossip.SetMeta(n.gossipMeta())
		}
		if low && time.Since(handedOver) > handOverEvery {
			handedOver = time.Now()
			hctx, cancel := context.WithTimeout(ctx, transferTimeout)
			n.handOver(hctx)
			cancel()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			t.Reset(tick.Until(spaceEvery))
		}
	}
}

// layBallast sets room for the ballast aside, unless it is there, or there is little.
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
		n.log.Warn("no ballast: there is little room", "free_bytes", u.AvailBytes)
		return
	}
	f, err := n.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, int64(size)), f.Close())
	}
	if err != nil {
		n.log.Warn("no ballast", "error", errors.Join(err, n.fs.RemoveAll(path)))
	}
}

// spaceHint says what an operator can do about a full disk.
func (n *Node) spaceHint() string {
	path := filepath.Join(n.cfg.DataDir, ballastFile)
	if _, err := os.Stat(path); err != nil {
		return "make room on the disk"
	}
	return fmt.Sprintf("make room on the disk, or remove %s, start, and delete what is not needed", path)
}
