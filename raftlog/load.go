package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"millrace/raftlog/disk"
)

// load reads from disk all that is kept in memory. It touches only a few keys, however
// long the log is and however many records were deleted.
func (s *Store) load() {
	s.stable.values = make(map[string][]byte)
	if s.db.enter() != nil {
		return // closed: every call of s returns ErrClosed
	}
	defer s.db.leave()
	if err := s.loadSmall(); err != nil {
		s.db.fail(s.shard, "load", err)
	}
	first, last, err := s.edges(s.floor, math.MaxUint64)
	if err != nil {
		s.db.fail(s.shard, "find the ends of the log", err)
	}
	s.first, s.last = first, last
}

// loadSmall reads everything except the log's bounds.
func (s *Store) loadSmall() (err error) {
	if v, ok, err := s.get(kindFloor); err != nil {
		return err
	} else if ok {
		if len(v) != 8 {
			return fmt.Errorf("%w: floor of %d bytes", disk.ErrCorrupt, len(v))
		}
		s.floor = binary.BigEndian.Uint64(v)
	}
	if v, ok, err := s.get(kindVote); err != nil {
		return err
	} else if ok {
		if s.stable.vote, err = decodeVote(v); err != nil {
			return fmt.Errorf("%w: %w", disk.ErrCorrupt, err)
		}
		s.stable.hasVote = true
	}
	if v, ok, err := s.get(kindMarker); err != nil {
		return err
	} else if ok {
		m, err := decodeMarker(v)
		if err != nil {
			return fmt.Errorf("%w: %w", disk.ErrCorrupt, err)
		}
		s.marker.Store(&m)
	}
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: appendPrefix(nil, s.shard, kindStable),
		UpperBound: appendPrefix(nil, s.shard, kindStable+1),
	})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		s.stable.values[string(it.Key()[prefixLen:])] = copyBytes(it.Value())
	}
	return errors.Join(it.Error(), it.Close())
}

// get reads the value of a kind that has one key in each shard. ok is false when the
// key does not exist.
func (s *Store) get(kind byte) (v []byte, ok bool, err error) {
	v, closer, err := s.db.pebble.Get(appendPrefix(nil, s.shard, kind))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v = copyBytes(v)
	return v, true, closer.Close()
}

// edges returns the indexes of the first and the last record in [lo, hi], or 0 and 0
// when there is none.
func (s *Store) edges(lo, hi uint64) (first, last uint64, err error) {
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: recordKey(s.shard, lo),
		UpperBound: recordKeyAfter(s.shard, hi),
	})
	if err != nil {
		return 0, 0, err
	}
	if it.First() {
		first = binary.BigEndian.Uint64(it.Key()[prefixLen:])
	}
	if it.Last() {
		last = binary.BigEndian.Uint64(it.Key()[prefixLen:])
	}
	return first, last, errors.Join(it.Error(), it.Close())
}
