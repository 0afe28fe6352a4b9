package shard

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"millrace/call"
	"millrace/kv"
	"millrace/raftlog/disk"
)

// shared is the ground on which the parts of one replica stand: configuration, clocks,
// positions and the ways to reach the supervisor. None of it depends on a part. So every
// part is built on it, and two parts that would need each other meet here instead.
type shared struct {
	cfg        *Config
	lo, hi     []byte // the shard's range of keys
	appliedKey []byte // the key of the applied index, in that range

	watch    stopwatch
	clock    *shardClock
	inflight *inflight
	gate     *gate
	configs  *configs
	counters *counters
	*standing
	orders *orders

	// fence is held for reading by every view, and for writing while a snapshot replaces
	// the state: the replacement removes data from under open views.
	fence sync.RWMutex

	current atomic.Pointer[instance] // the Raft instance that runs; nil while there is none
	haltErr atomic.Pointer[error]    // why the shard does nothing any more; nil while it works

	fatalOnce sync.Once
}

func newShared(cfg *Config) *shared {
	var origin [8]byte
	_, _ = rand.Read(origin[:]) // never fails
	sh := &shared{
		cfg:        cfg,
		appliedKey: kv.SystemKey(cfg.FirstSlot, kv.SystemApplied),
		watch:      newStopwatch(),
		clock:      &shardClock{node: cfg.Clock},
		inflight:   newInflight(binary.BigEndian.Uint64(origin[:])),
		gate:       new(gate),
		configs:    new(configs),
		counters:   new(counters),
		standing:   new(standing),
		orders:     newOrders(),
	}
	sh.lo, sh.hi = kv.SlotBounds(cfg.FirstSlot, cfg.LastSlot)
	return sh
}

// fatal reports a failure that this node cannot survive, such as a read error of the
// disk. Config.OnFatal hears of the first one only.
func (sh *shared) fatal(err error) {
	sh.fatalOnce.Do(func() {
		sh.cfg.Logger.Error("cannot go on", "shard", sh.cfg.ID, "error", err)
		if sh.cfg.OnFatal != nil {
			sh.cfg.OnFatal(err)
		}
	})
}

// haltShard stops the shard for good, because a record cannot be applied. The process
// lives on for its other shards, unless the cause is corruption.
func (sh *shared) haltShard(err error) {
	sh.cfg.Logger.Error("halted", "shard", sh.cfg.ID, "error", err)
	sh.haltErr.CompareAndSwap(nil, &err)
	if errors.Is(err, disk.ErrCorrupt) || pebble.IsCorruptionError(err) {
		sh.fatal(err)
	}
	// Where another replacement is asked for already, that one ends the instance too, and
	// the supervisor sees haltErr.
	sh.orders.replaceSoon(causeHalt)
}

// roles implements roleSource.
func (sh *shared) roles() raftRole {
	if inst := sh.current.Load(); inst != nil {
		return inst.raft
	}
	return nil
}

// orders is how the other parts ask the supervisor for something. Asking never blocks.
type orders struct {
	look    signal     // Raft's role may have changed
	logFull signal     // the log is over its bound
	replace chan cause // capacity 1: end the instance and start the next one
}

func newOrders() *orders {
	return &orders{look: newSignal(), logFull: newSignal(), replace: make(chan cause, 1)}
}

// replaceSoon asks for the end of the Raft instance. If the same was asked before,
// nothing is added: the instance ends once.
func (o *orders) replaceSoon(c cause) {
	select {
	case o.replace <- c:
	default:
	}
}

// standing is this replica's knowledge of the leadership. The leadership writes it;
// every part reads it.
type standing struct {
	known atomic.Pointer[role] // the role learned last; nil before the first
	open  atomic.Uint64        // the term this replica leads in and takes calls of; 0: none
}

// hint returns the refusal of a call that should go to another leader or be sent under
// another term.
func (s *standing) hint() *call.NotLeader {
	r := s.known.Load()
	if r == nil || r.leader == "" {
		return &call.NotLeader{}
	}
	return &call.NotLeader{Leader: r.leader, Term: r.term}
}

// leads returns the term that this replica leads in, or 0 when it does not lead.
func (s *standing) leads() uint64 { return s.open.Load() }
