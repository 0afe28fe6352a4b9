package raftlog

import (
	"sync"
	"time"
)

// syncs knows the synced commits that are under way, oldest first.
type syncs struct {
	mu     sync.Mutex
	oldest *inflight // guarded by mu
	newest *inflight
	count  uint64        // finished
	total  time.Duration // time the finished ones took
}

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

// pending is the age of the oldest, 0 without one.
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
