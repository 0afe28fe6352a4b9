package shard

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// retention knows which records of the log other replicas still need. If a snapshot or a
// truncation disregards them, the replica needs another snapshot. Where a shard is
// written faster than its snapshot travels, that would never end.
//
// A replica counts while it answers, or while a snapshot is on its way to it. A replica
// that cannot be reached does not count, because the log would grow for as long as it is
// away.
type retention struct {
	watch  stopwatch
	recent time.Duration // how long a replica counts after its last answer

	mu    sync.Mutex
	peers map[raft.ServerID]progress // guarded by mu, as all below
	pins  []uint64                   // indexes of the snapshots that are being sent
}

// progress is how far a replica's log is known to agree with the leader's.
type progress struct {
	index uint64
	atNS  int64 // when it answered that, on the stopwatch
	asked int   // messages under way to it; it counts until they are answered
}

func newRetention(w stopwatch, recent time.Duration) *retention {
	return &retention{watch: w, recent: recent, peers: map[raft.ServerID]progress{}}
}

// has notes that a replica has the log up to index.
func (r *retention) has(id raft.ServerID, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers[id] = progress{index, r.watch.now(), r.peers[id].asked}
}

// lacks notes that a replica's log ends at last, or differs from the leader's before
// that.
func (r *retention) lacks(id raft.ServerID, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.peers[id]
	if ok {
		last = min(last, p.index)
	}
	r.peers[id] = progress{last, r.watch.now(), p.asked}
}

// asks notes that a message is under way to a replica, until the returned function is
// called. The replica's disk may take longer to answer than a replica counts after an
// answer.
func (r *retention) asks(id raft.ServerID) (answered func()) {
	if !r.addAsked(id, 1) {
		return func() {} // its position is unknown
	}
	return func() { r.addAsked(id, -1) }
}

func (r *retention) addAsked(id raft.ServerID, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.peers[id]
	if ok {
		p.asked += n
		r.peers[id] = p
	}
	return ok
}

// pin keeps the records after index until the returned function is called.
func (r *retention) pin(index uint64) (unpin func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins = append(r.pins, index)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if i := slices.Index(r.pins, index); i >= 0 {
			r.pins = slices.Delete(r.pins, i, i+1)
		}
	}
}

// needed returns the index after which some replica still needs records, or MaxUint64
// when none does.
func (r *retention) needed() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	least := uint64(math.MaxUint64)
	for _, index := range r.pins {
		least = min(least, index)
	}
	now := r.watch.now()
	for id, p := range r.peers {
		if p.asked == 0 && time.Duration(now-p.atNS) > r.recent {
			delete(r.peers, id)
			continue
		}
		least = min(least, p.index)
	}
	return least
}
