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

// hostingRetry is the time between two rounds of hosting while the map stays the same. A
// round repeats failed steps, and checks whether unwanted replicas can be removed now.
const hostingRetry = 2 * time.Second

// hosting opens and removes replicas until this node has exactly those that the map gives
// it. The goroutine of run is the only one that opens and removes replicas of data shards.
type hosting struct {
	n       *Node
	changed chan struct{}   // signalled after a new map was published; room for one
	met     map[string]bool // the nodes of the map that meet has connected to; owned by run
	// sends limits how many snapshots this node sends at a time, counted over all shards.
	sends chan struct{}
	// status asks the leader of a shard for its status; tests replace it.
	status func(ctx context.Context, id uint32) (shard.Status, error)
}

func newHosting(n *Node) *hosting {
	return &hosting{n: n, changed: make(chan struct{}, 1), met: make(map[string]bool), sends: make(chan struct{}, shard.SendsDefault), status: n.shardStatus}
}

// notify starts a round soon, because the map has changed. It does not block.
func (h *hosting) notify() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// run reconciles until ctx ends. It returns an error if a replica cannot be opened or
// removed, because the disk is then likely to be broken.
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

// reconcile goes once over the map, and opens or removes replicas where they differ from it.
func (h *hosting) reconcile(ctx context.Context) error {
	m := h.n.meta.machine.Map()
	if m == nil {
		return nil
	}
	h.meet(m)
	for i := range m.Shards {
		s := &m.Shards[i]
		open := h.n.replicas.get(s.ID) != nil
		switch {
		case s.ShouldHost(h.n.id) && !open:
			if err := h.open(s); err != nil {
				return fmt.Errorf("open shard %d: %w", s.ID, err)
			}
		case !s.ShouldHost(h.n.id) && !open:
			// This node may have stopped before it removed a replica that has moved away. It
			// opens that replica like a wanted one, because only the shard's leader can
			// confirm that it is no longer needed; a later round then retires it.
			onDisk, err := h.onDisk(s.ID)
			if err == nil && onDisk {
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

// meet connects to nodes that are new in the map, so that the first election of a shard finds
// them connected.
func (h *hosting) meet(m *placement.Map) {
	for i := range m.Nodes {
		id := m.Nodes[i].ID
		if id != h.n.id && m.Nodes[i].State != placement.Removed && !h.met[id] {
			h.met[id] = true
			h.n.peers.Connect(id)
		}
	}
}

// onDisk reports whether the Raft log on disk holds anything of a shard.
func (h *hosting) onDisk(id uint32) (bool, error) {
	ids, err := h.n.disks.log.Shards()
	return slices.Contains(ids, id), err
}

// open starts this node's replica of a data shard.
func (h *hosting) open(s *placement.Shard) error {
	state := stream.NewState(s.First, s.Last)
	state.CountLookups(&h.n.lookups)
	cfg := h.config(s.ID, s.First, s.Last, streamMachine{state})
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

// streamMachine hands the state machine of Redis Streams to a shard. Package stream does
// not know the shard's interfaces, so its blocked commands are passed on here.
type streamMachine struct{ *stream.State }

var _ shard.Blocker = streamMachine{}

// Block implements shard.Blocker.
func (m streamMachine) Block(argv [][]byte) shard.Blocked { return m.State.Block(argv) }

// config returns the configuration of a replica: the given values, and the part that all
// replicas of this node have in common.
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
		Prober:    n.delivery,
		Clock:     n.clock.nowMS,
		Limits:    shard.Limits{LogRecords: uint64(n.cfg.LogRecords), TrailingRecords: uint64(n.cfg.LogRecords / 4)},
		Scarce:    n.space.low.Load,
		OnLeader:  func(leader string, term uint64) { n.learn(id, leader, term) },
		OnDue:     func(names int64) { n.expired.Add(names) },
		OnFatal:   func(err error) { n.shardFailed(id, err) },
		Logger:    n.log, DigestEvery: digests,
	}
}

// applied returns a function that tells the transport the applied index of a replica, or 0
// while the replica is not running.
func (h *hosting) applied(id uint32) func() uint64 {
	return func() uint64 {
		if r := h.n.replicas.get(id); r != nil {
			return r.Applied()
		}
		return 0
	}
}

// learn records which node leads a shard, as one of this node's replicas has seen it. An
// empty leader means that the leader of term is lost.
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

// shardFailed handles an error after which a replica cannot go on. A disk failure ends the
// process at once; any other error ends Run.
func (n *Node) shardFailed(id uint32, err error) {
	err = fmt.Errorf("shard %d: %w", id, err)
	if e := diskFailure(err); e != nil {
		if de, ok := errors.AsType[*diskError](e); ok {
			n.fatal(de.class, err)
		}
	}
	n.fail(err)
}
