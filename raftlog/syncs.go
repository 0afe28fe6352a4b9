package raftlog

import (
	"sync"
	"time"
)

// syncs is the list of synced commits under way, oldest first, and the totals of those
// that have finished.
type syncs struct {
	mu     sync.Mutex
	oldest *inflight // guarded by mu, as are all below
	newest *inflight
	count  uint64        // finished commits
	total  time.Duration // their durations, added up
}

// inflight is one synced commit under way.
type inflight struct {
	start      time.Time
	prev, next *inflight
}

func (s *syncs) begin(now time.Time) *inflight {
	f := &inflight{start: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.prev = s.newest; f.prev != nil {
		f.prev.next = f
	} else {
		s.oldest = f
	}
	s.newest = f
	return f
}

func (s *syncs) end(f *inflight, now time.Time) time.Duration {
	took := now.Sub(f.start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.oldest = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		s.newest = f.prev
	}
	s.count++
	s.total += took
	return took
}

// pending returns the age of the oldest commit under way, at least 1 ns, or 0 when
// there is none.
func (s *syncs) pending(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest == nil {
		return 0
	}
	return max(1, now.Sub(s.oldest.start))
}

func (s *syncs) totals() (count uint64, total time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.total
}
