package measure

import (
	"sync"
	"time"
)

// Shards keeps when writes to each shard were acknowledged. Its methods are safe for
// concurrent use.
type Shards struct {
	now   func() time.Duration
	shard []shard
}

type shard struct {
	mu      sync.Mutex
	last    time.Duration // when a write was answered last
	longest Gap
	since   time.Duration // when the watch began
	resumed time.Duration // when a write that began after it was answered first; 0: not yet
	stall   time.Duration // the longest time without an answer since then
	from    time.Duration // where the time without an answer that goes on now is counted from
}

// Gap is a time in which a shard has acknowledged no write.
type Gap struct {
	Shard uint32        `json:"shard"`
	From  time.Duration `json:"from_ns"`
	Took  time.Duration `json:"took_ns"`
}

// NewShards returns the measure of shards 1 to n. now is the run's clock.
func NewShards(n int, now func() time.Duration) *Shards {
	return &Shards{now: now, shard: make([]shard, n+1)}
}

// Count returns how many shards there are.
func (m *Shards) Count() int { return len(m.shard) - 1 }

// Acked says that a write which began then was answered now.
func (m *Shards) Acked(id uint32, began time.Duration) {
	if int(id) >= len(m.shard) {
		return
	}
	now, s := m.now(), &m.shard[id]
	s.mu.Lock()
	defer s.mu.Unlock()
	if took := now - s.last; s.last > 0 && took > s.longest.Took {
		s.longest = Gap{id, s.last, took}
	}
	s.last = now
	s.stall = max(s.stall, now-s.from)
	s.from = now
	if began >= s.since && s.resumed == 0 {
		s.resumed = now
	}
}

// Watch begins to watch all shards from now on.
func (m *Shards) Watch() {
	now := m.now()
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		s.since, s.resumed, s.stall, s.from = now, 0, 0, now
		s.mu.Unlock()
	}
}

// Rest forgets when the shards were last served: no load is meant to be running, so
// that the time until it runs again is not theirs.
func (m *Shards) Rest() {
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		s.last = 0
		s.mu.Unlock()
	}
	m.Watch()
}

// Served is how a shard has fared since Watch.
type Served struct {
	Resumed bool
	After   time.Duration // until a write that began after Watch was answered; or up to now
	Stall   time.Duration // the longest time without an answer
}

// Served returns how a shard has fared since Watch.
func (m *Shards) Served(id uint32) Served {
	now, s := m.now(), &m.shard[id]
	s.mu.Lock()
	defer s.mu.Unlock()
	v := Served{Resumed: s.resumed > 0, After: now - s.since, Stall: max(s.stall, now-s.from)}
	if v.Resumed {
		v.After = s.resumed - s.since
	}
	return v
}

// Longest returns the longest gap of each shard.
func (m *Shards) Longest() []Gap {
	var out []Gap
	for i := range m.shard {
		if i == 0 {
			continue // the meta group takes no clients' writes
		}
		s := &m.shard[i]
		s.mu.Lock()
		g := s.longest
		g.Shard = uint32(i)
		s.mu.Unlock()
		out = append(out, g)
	}
	return out
}
