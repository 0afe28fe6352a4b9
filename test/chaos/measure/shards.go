package measure

import (
	"sync"
	"time"
)

// Shards records when writes to each shard were acknowledged. Its methods are safe for
// concurrent use.
type Shards struct {
	now   func() time.Duration
	shard []shard
}

// shard is the record of one shard. mu guards the other fields, which are times since the
// start of the run.
type shard struct {
	mu      sync.Mutex
	last    time.Duration // of the last acknowledgement; 0: none since Rest
	longest Gap
	since   time.Duration // of the last Watch
	resumed time.Duration // of the first acknowledgement of a write that began after since; 0: none yet
	stall   time.Duration // the longest time between acknowledgements since Watch
	from    time.Duration // start of the present time without acknowledgement: the last one, or Watch
}

// Gap is a time in which a shard acknowledged no write.
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

// Acked records that a write to shard id, sent at began, is acknowledged now. It ignores
// an id beyond Count.
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

// Watch begins a new watch of all shards: Served describes the time from now on.
func (m *Shards) Watch() {
	now := m.now()
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		s.since, s.resumed, s.stall, s.from = now, 0, 0, now
		s.mu.Unlock()
	}
}

// Rest tells that clients write nothing for now, and begins a new watch. The time until
// the next acknowledgement is not a gap, because the shards are not the cause of it.
func (m *Shards) Rest() {
	for i := range m.shard {
		s := &m.shard[i]
		s.mu.Lock()
		s.last = 0
		s.mu.Unlock()
	}
	m.Watch()
}

// Served is the service of a shard since Watch.
type Served struct {
	Resumed bool          // a write that began after Watch was acknowledged
	After   time.Duration // from Watch to the first such acknowledgement, or until now
	Stall   time.Duration // the longest time without an acknowledgement
}

// Served returns the service of shard id since Watch.
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

// Longest returns the longest gap of each shard in the whole run.
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
