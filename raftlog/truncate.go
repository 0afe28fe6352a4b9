package raftlog

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// DeleteRange implements raft.LogStore. It deletes the records from lo to hi, both
// included. Records deleted at the tail are gone from disk on return, because Raft
// writes other records at their indexes next. Records deleted at the head may come back
// after a crash, which does no harm: a snapshot covers them, and they only take room.
func (s *Store) DeleteRange(lo, hi uint64) error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	first, last := s.bounds()
	if first == 0 || hi < first || lo > last || lo > hi {
		return nil
	}
	lo, hi = max(lo, first), min(hi, last)

	// The log may have gaps, so the new bound is searched rather than computed: after
	// [1–10, 51–60], deleting 1 to 30 leaves a log that begins at 51.
	newFirst, newLast := first, last
	var err error
	switch {
	case lo == first && hi == last:
		newFirst, newLast = 0, 0
	case lo == first:
		newFirst, _, err = s.edges(hi+1, last)
	case hi == last:
		_, newLast, err = s.edges(first, lo-1)
	}
	if err != nil {
		s.db.fail(s.shard, "find the ends of the log", err)
	}

	b := s.db.pebble.NewBatch()
	defer b.Close()
	if hi-lo < pointDeletes {
		for i := lo; i <= hi; i++ {
			err = errors.Join(err, b.Delete(recordKey(s.shard, i), nil))
		}
	} else {
		err = b.DeleteRange(recordKey(s.shard, lo), recordKeyAfter(s.shard, hi), nil)
	}
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	floor := s.floor
	if lo == first && hi < math.MaxUint64 {
		floor = hi + 1
		s.putFloor(b, floor)
	}
	o := pebble.NoSync
	if hi == last {
		o = pebble.Sync
	}
	s.db.commit(b, o)
	s.floor = floor
	s.setBounds(newFirst, newLast)
	s.forget(lo, hi, first, last)
	s.db.stats.truncations.Add(1)
	return nil
}

// forget removes the deleted records lo to hi of a log [first, last] from the cache.
func (s *Store) forget(lo, hi, first, last uint64) {
	switch {
	case hi == last:
		s.db.cache.dropFrom(s.shard, lo)
	case lo == first:
		s.db.cache.dropTo(s.shard, hi)
	default: // Raft never deletes in the middle, so dropping the tail as well is fine
		s.db.cache.dropFrom(s.shard, lo)
	}
}

// putFloor adds the floor's key to b.
func (s *Store) putFloor(b *pebble.Batch, floor uint64) {
	err := b.Set(appendPrefix(nil, s.shard, kindFloor), binary.BigEndian.AppendUint64(nil, floor), nil)
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
}

// ResetLog deletes the whole log, and keeps stable values, vote and marker. The log is
// gone from disk on return. The log may hold acknowledged records, so the caller must
// know that a snapshot covers it or conflicts with it.
func (s *Store) ResetLog() error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	err := errors.Join(
		b.DeleteRange(recordKey(s.shard, 0), recordsEnd(s.shard), nil),
		b.Delete(appendPrefix(nil, s.shard, kindFloor), nil))
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.floor = 0
	s.setBounds(0, 0)
	s.db.cache.dropFrom(s.shard, 0)
	return nil
}

// Remove deletes all keys of the shard. They are gone from disk on return, and the
// store can be used for a new replica of the shard. Raft must not run on it during the
// call.
func (s *Store) Remove() error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(shardStart(s.shard), shardEnd(s.shard), nil); err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.floor = 0
	s.setBounds(0, 0)
	s.db.cache.dropFrom(s.shard, 0)
	s.stable.forget()
	s.marker.Store(nil)
	return nil
}
