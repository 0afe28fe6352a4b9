package raftlog

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// TestConcurrentUse uses several shards at once, each as Raft does: one goroutine
// appends and votes, one writes markers and trims the head, and two read.
func TestConcurrentUse(t *testing.T) {
	const shards, records = 4, 1500
	db := openMem(t, Options{CacheBytes: 64 << 10, MemTableBytes: 256 << 10})
	var wg sync.WaitGroup
	for shard := range uint32(shards) {
		s := db.Store(shard)
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			appendAndVote(t, s, records)
		})
		wg.Go(func() { trimHead(t, s, done) })
		for range 2 {
			wg.Go(func() { readAll(t, s, done) })
		}
	}
	wg.Wait()
	for shard := range uint32(shards) {
		if _, last := db.Store(shard).bounds(); last != records {
			t.Errorf("shard %d ends at %d", shard, last)
		}
		wantVote(t, db.Store(shard), records+1, fmt.Sprint(records+1))
	}
}

// appendAndVote appends records 1 to last. After each hundredth it votes and replaces
// the last record, as after an election.
func appendAndVote(t *testing.T, s *Store, last uint64) {
	next := uint64(1)
	for next <= last {
		if err := s.StoreLogs(commands(next, next+4, 1)); err != nil {
			t.Error(err)
			return
		}
		next += 5
		if next%100 != 1 {
			continue
		}
		if err := errors.Join(s.DeleteRange(next-1, next-1), s.StoreLogs(commands(next-1, next-1, 1)),
			s.SetUint64(nameVoteTerm, next), s.Set(nameVoteCandidate, fmt.Append(nil, next))); err != nil {
			t.Error(err)
			return
		}
	}
}

// trimHead writes markers and trims the head, as snapshots do, until done is closed.
func trimHead(t *testing.T, s *Store, done <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		first, last := s.bounds()
		if last-first < 100 {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if err := errors.Join(s.PutMarker(Marker{Index: last - 50}), s.DeleteRange(first, last-50)); err != nil {
			t.Error(err)
			return
		}
		if m, _, _ := s.Marker(); m.Index != last-50 {
			t.Errorf("marker is %d, want %d", m.Index, last-50)
		}
	}
}

// readAll reads records and metrics until done is closed.
func readAll(t *testing.T, s *Store, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		first, last := s.bounds()
		for i := first; i <= last && i > 0; i += 7 {
			var l raft.Log
			err := s.GetLog(i, &l)
			if err == raft.ErrLogNotFound { //nolint:errorlint // Raft compares with == too
				continue // trimmed or replaced in the meantime
			}
			if err != nil || string(l.Data) != string(command(i, 1).Data) {
				t.Errorf("GetLog(%d) = %q, %v", i, l.Data, err)
				return
			}
		}
		s.db.SyncPending()
		s.db.Metrics()
	}
}

// TestCloseDuringUse checks that Close waits for the calls under way, and that later
// calls are refused.
func TestCloseDuringUse(t *testing.T) {
	db := mustOpen(t, vfs.NewMem(), Options{})
	var wg sync.WaitGroup
	for shard := range uint32(4) {
		s := db.Store(shard)
		wg.Go(func() {
			for i := uint64(1); ; i++ {
				if err := s.StoreLogs(commands(i, i, 1)); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for db.Metrics().Records < 100 {
		time.Sleep(time.Millisecond)
	}
	closeDB(t, db)
	wg.Wait()
}
