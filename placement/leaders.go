package placement

import "sync/atomic"

// Leaders are hints of who leads each shard and in which term, learnt from the local
// replicas and from the answers of nodes that do not lead. A hint may be old; it is
// never newer than the truth, and terms only rise. All methods may be called from any
// goroutine, never block, and read without a lock. Shards above MaxShards are unknown.
type Leaders struct {
	shards [MaxShards + 1]atomic.Pointer[leader]
}

// leader is one hint. It is immutable; changed is closed once it has been replaced.
type leader struct {
	node    string
	term    uint64
	changed chan struct{}
}

// NewLeaders returns hints of nothing.
func NewLeaders() *Leaders {
	l := new(Leaders)
	for i := range l.shards {
		l.shards[i].Store(&leader{changed: make(chan struct{})})
	}
	return l
}

// Get returns the node that leads the shard, empty when unknown, and the newest term
// heard of.
func (l *Leaders) Get(shard uint32) (node string, term uint64) {
	node, term, _ = l.Watch(shard)
	return node, term
}

// Watch returns what Get returns, and a channel that is closed when that has changed:
// a caller in want of a leader asks, and waits for the channel if it got none.
func (l *Leaders) Watch(shard uint32) (node string, term uint64, changed <-chan struct{}) {
	if shard > MaxShards {
		return "", 0, nil // never ready
	}
	h := l.shards[shard].Load()
	return h.node, h.term, h.changed
}

// Learn notes that node leads the shard in term, or with an empty node, that term has
// begun and its leader is unknown. It reports whether that was news: a newer term, or
// the unknown leader of the present one. In a term there is only one leader, so a
// known one is not replaced.
func (l *Leaders) Learn(shard uint32, node string, term uint64) bool {
	return l.update(shard, func(h *leader) (string, uint64, bool) {
		return node, term, term > h.term || term == h.term && h.node == "" && node != ""
	})
}

// Forget notes that the leader of term, or of one before, does not answer as such. A
// hint of a later term stays. The term is kept, so that an older hint is not taken for
// news. It reports whether a leader was forgotten.
func (l *Leaders) Forget(shard uint32, term uint64) bool {
	return l.update(shard, func(h *leader) (string, uint64, bool) {
		return "", h.term, h.term <= term && h.node != ""
	})
}

func (l *Leaders) update(shard uint32, f func(*leader) (node string, term uint64, change bool)) bool {
	if shard > MaxShards {
		return false
	}
	for {
		old := l.shards[shard].Load()
		node, term, change := f(old)
		if !change {
			return false
		}
		if l.shards[shard].CompareAndSwap(old, &leader{node, term, make(chan struct{})}) {
			close(old.changed)
			return true
		}
	}
}
