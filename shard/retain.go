package shard

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// retention knows which records of the log other replicas still need: a snapshot or a
// truncation that takes no heed of them has to be followed by another snapshot, and
// where a shard is written faster than its snapshot travels, that never ends.
//
// A replica counts while it answers, or while a snapshot is on its way to it. One that
// cannot be reached does not: the log would grow for as long as it is away.
type retention struct {
	watch  stopwatch
	recent time.Duration // a replica counts for so long after its answer

	mu    sync.Mutex
	peers map[raft.ServerID]progress // guarded by mu, as all below
	pins  []uint64                   // indexes of snapshots under way
}

// progress is how far a replica's log is known to be the leader's.
type progress struct {
	index uint64
	atNS  int64 // when it said so
	asked int   // messages under way to it: it counts until they are answered
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

// lacks notes that a replica's log ends at last, or is another one before.
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
// called: its disk may take longer than replicas count after an answer.
func (r *retention) asks(id raft.ServerID) (answered func()) {
	if !r.addAsked(id, 1) {
		return func() {} // nothing is known of what it needs
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

// needed returns the index after which some replica still needs records; MaxUint64 when
// none does.
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
