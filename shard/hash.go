package shard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Hash returns a digest of all keys and values of the replica's state, and the applied
// index at which it was so: replicas with the same index must have the same digest. It
// reads the whole state.
func (s *Shard) Hash(ctx context.Context) (index uint64, sum [sha256.Size]byte, err error) {
	it, err := s.cfg.State.NewIter(&pebble.IterOptions{LowerBound: s.applier.lo, UpperBound: s.applier.hi})
	if err != nil {
		return 0, sum, fmt.Errorf("shard %d: hash: %w", s.cfg.ID, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	h := sha256.New()
	var length [8]byte
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return 0, sum, ctx.Err()
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return 0, sum, fmt.Errorf("shard %d: hash: %w", s.cfg.ID, err)
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(it.Key())))
		binary.BigEndian.PutUint32(length[4:], uint32(len(v)))
		h.Write(length[:])
		h.Write(it.Key())
		h.Write(v)
		if string(it.Key()) == string(s.applier.key) {
			at, err := decodeApplied(v)
			if err != nil {
				return 0, sum, err
			}
			index = at.index
		}
	}
	if err := it.Error(); err != nil {
		return 0, sum, fmt.Errorf("shard %d: hash: %w", s.cfg.ID, err)
	}
	h.Sum(sum[:0])
	return index, sum, nil
}
