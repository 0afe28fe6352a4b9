package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"millrace/node/peer"
	"millrace/placement"
	"millrace/shard"
	"millrace/stream"
)

// hostingRetry is how soon hosting tries again what failed, and looks for replicas
// that are no longer wanted.
const hostingRetry = 2 * time.Second

// hosting makes the replicas of this node those that the map gives it. Its run
// goroutine is the only one that opens and removes data shards.
type hosting struct {
	n       *Node
	changed chan struct{} // room for one: a new map has been published
	// sends bounds the snapshots this node sends at once, over all shards.
	sends chan struct{}
	// status asks the leader of a shard.
	status func(ctx context.Context, id uint32) (shard.Status, error)
}

func newHosting(n *Node) *hosting {
	return &hosting{n: n, changed: make(chan struct{}, 1), sends: make(chan struct{}, shard.SendsDefault), status: n.shardStatus}
}

// notify says that the map has changed.
func (h *hosting) notify() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// run reconciles until ctx ends, or until a replica cannot be opened because its disk
// is broken.
func (h *hosting) run(ctx context.Context) error {
	t := time.NewTicker(hostingRetry)
	defer t.Stop()
	for {
		if err := h.reconcile(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.changed:
		case <-t.C:
		}
	}
}

func (h *hosting) reconcile(ctx context.Context) error {
	m := h.n.meta.machine.Map()
	if m == nil {
		return nil
	}
	for i := range m.Shards {
		s := &m.Shards[i]
		open := h.n.replicas.get(s.ID) != nil
		switch {
		case s.ShouldHost(h.n.id) && !open:
			if err := h.open(s); err != nil {
				return fmt.Errorf("open shard %d: %w", s.ID, err)
			}
		case !s.ShouldHost(h.n.id) && !open:
			// What a node kept from before it was told that the replica moved away is
			// opened like a wanted one: only the shard's leader can say that it is done.
			kept, err := h.kept(s.ID)
			if err == nil && kept {
				err = h.open(s)
			}
			if err != nil {
				return fmt.Errorf("open shard %d: %w", s.ID, err)
			}
		case !s.ShouldHost(h.n.id) && open:
			if err := h.retire(ctx, s); err != nil {
				return fmt.Errorf("remove the replica of shard %d: %w", s.ID, err)
			}
		}
	}
	return nil
}

// kept reports whether the disk holds anything of a shard.
func (h *hosting) kept(id uint32) (bool, error) {
	ids, err := h.n.disks.log.Shards()
	return slices.Contains(ids, id), err
}

// open starts this node's replica of a data shard.
func (h *hosting) open(s *placement.Shard) error {
	state := stream.NewState(s.First, s.Last)
	state.CountLookups(&h.n.lookups)
	cfg := h.config(s.ID, s.First, s.Last, state)
	if !s.Founded && slices.Contains(s.Founders, h.n.id) {
		cfg.Founders = s.Founders
	}
	r, err := shard.Open(cfg)
	if err != nil {
		return err
	}
	h.n.replicas.put(s.ID, r)
	return nil
}

// config returns what all shards of this node have in common.
func (h *hosting) config(id uint32, first, last uint16, m shard.Machine) shard.Config {
	n := h.n
	digests := uint64(0)
	if n.cfg.EnableDebug {
		digests = digestEvery
	}
	return shard.Config{
		ID: id, NodeID: n.id, FirstSlot: first, LastSlot: last, Machine: m,
		Log: n.disks.log.Store(id), State: n.disks.state.DB,
		StagingDir: filepath.Join(n.cfg.DataDir, stagingDir), FS: n.fs, SnapshotSlots: h.sends,
		Transport: func() raft.Transport { return n.peers.Transport(id, peer.TransportOptions{Applied: h.applied(id)}) },
		Prober:    n.peers,
		Clock:     n.clock.nowMS,
		Limits:    shard.Limits{LogRecords: uint64(n.cfg.LogRecords), TrailingRecords: uint64(n.cfg.LogRecords / 4)},
		Scarce:    n.space.low.Load,
		OnLeader:  func(leader string, term uint64) { n.learn(id, leader, term) },
		OnDue:     func(names int64) { n.expired.Add(names) },
		OnFatal:   func(err error) { n.shardFailed(id, err) },
		Logger:    n.log, DigestEvery: digests,
	}
}

// applied returns what tells the transport how far a replica's state is.
func (h *hosting) applied(id uint32) func() uint64 {
	return func() uint64 {
		if r := h.n.replicas.get(id); r != nil {
			return r.Applied()
		}
		return 0
	}
}

// learn takes a hint from a replica of this node.
func (n *Node) learn(id uint32, leader string, term uint64) {
	if leader == "" {
		n.leaders.Forget(id, term)
	} else {
		n.leaders.Learn(id, leader, term)
	}
	if id == placement.MetaShard {
		n.meta.notify()
	}
}

// shardFailed ends the process when a replica meets a disk that it cannot go on with.
func (n *Node) shardFailed(id uint32, err error) {
	err = fmt.Errorf("shard %d: %w", id, err)
	if e := diskFailure(err); e != nil {
		var de *diskError
		if errors.As(e, &de) {
			n.fatal(de.class, err)
		}
	}
	n.fail(err)
}
