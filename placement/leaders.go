package placement

import "sync/atomic"

// Leaders keeps a hint about each shard's leader and term, learnt from local replicas and
// from answers of nodes that do not lead. A hint may be out of date, but its term only
// rises. All methods may be called from any goroutine; none blocks, and reads take no
// lock. A shard above MaxShards never has a hint.
type Leaders struct {
	shards [MaxShards + 1]atomic.Pointer[leader]
}

// leader is one hint. It is immutable. changed is closed once another hint replaces it.
type leader struct {
	node    string
	term    uint64
	changed chan struct{}
}

// NewLeaders returns Leaders without any hints.
func NewLeaders() *Leaders {
	l := new(Leaders)
	for i := range l.shards {
		l.shards[i].Store(&leader{changed: make(chan struct{})})
	}
	return l
}

// Get returns the node believed to lead the shard, or "" if it is unknown, and the
// greatest known term.
func (l *Leaders) Get(shard uint32) (node string, term uint64) {
	node, term, _ = l.Watch(shard)
	return node, term
}

// Watch returns the values of Get, and a channel that is closed when they change. A caller
// that finds no leader can wait for the channel and ask again.
func (l *Leaders) Watch(shard uint32) (node string, term uint64, changed <-chan struct{}) {
	if shard > MaxShards {
		return "", 0, nil // a nil channel is never ready
	}
	h := l.shards[shard].Load()
	return h.node, h.term, h.changed
}

// Learn records that node leads the shard in term. An empty node means that term has
// begun and its leader is unknown. Learn reports whether it changed the hint: the term is
// newer, or the leader of the present term was unknown. A known leader is never replaced
// within its term, because a term has only one leader.
func (l *Leaders) Learn(shard uint32, node string, term uint64) bool {
	return l.update(shard, func(h *leader) (string, uint64, bool) {
		return node, term, term > h.term || term == h.term && h.node == "" && node != ""
	})
}

// Forget records that the leader of term did not answer as the leader. It removes the
// hint if the hint's term is not later, and reports whether it did. It keeps the term, so
// that an older hint that arrives later is not accepted.
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
