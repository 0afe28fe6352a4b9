package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// ErrNotFound is returned by Get and GetUint64 for a key that was never set. Raft
// compares the text, so the text is part of the contract.
var ErrNotFound = errors.New("not found")

// ErrNotUint64 is returned by GetUint64 for a value that SetUint64 did not write.
var ErrNotUint64 = errors.New("raftlog: stable value is not an integer")

// The names under which Raft stores its vote, as two values.
var (
	nameVoteTerm      = []byte("LastVoteTerm")
	nameVoteCandidate = []byte("LastVoteCand")
)

// stable is a shard's part in raft.StableStore, all of it also in memory: Raft
// keeps three values.
//
// Raft writes a vote as a term and then a candidate. After a crash between the two
// it would take the old candidate for the one it voted for in the new term, and
// confirm that vote without looking at the candidate's log. So the term is only
// held, in memory, until the candidate comes, and then both are written as one
// value. A held term reads back as itself, and the candidate as not found: a vote
// for nobody, which Raft takes for no vote. A term whose candidate never comes is
// gone at the next open, as if the vote had never begun; no answer depended on it.
type stable struct {
	mu       sync.Mutex
	values   map[string][]byte // guarded by mu, as all below; never the vote
	vote     vote
	hasVote  bool
	heldTerm uint64
	held     bool
}

// Set implements raft.StableStore: on return the value is on disk.
func (s *Store) Set(key, val []byte) error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.stable.mu.Lock()
	defer s.stable.mu.Unlock()
	if bytes.Equal(key, nameVoteCandidate) {
		v := vote{term: s.stable.vote.term, candidate: bytes.Clone(val)}
		if s.stable.held {
			v.term = s.stable.heldTerm
		}
		return s.putVoteLocked(v)
	}
	if bytes.Equal(key, nameVoteTerm) {
		if len(val) != 8 {
			return fmt.Errorf("%w: %s of %d bytes", ErrNotUint64, key, len(val))
		}
		s.stable.heldTerm, s.stable.held = binary.BigEndian.Uint64(val), true
		return nil
	}
	// Raft writes its current term at every start, mostly the one that is there.
	if old, ok := s.stable.values[string(key)]; ok && bytes.Equal(old, val) {
		return nil
	}
	b := s.db.pebble.NewBatch()
	defer b.Close()
	if err := b.Set(append(appendPrefix(nil, s.shard, kindStable), key...), val, nil); err != nil {
		return fmt.Errorf("raftlog: set %q: %w", key, err)
	}
	s.db.commit(b, pebble.Sync)
	s.stable.values[string(key)] = bytes.Clone(val)
	return nil
}

func (s *Store) putVoteLocked(v vote) error {
	if !s.stable.hasVote || s.stable.vote.term != v.term || !bytes.Equal(s.stable.vote.candidate, v.candidate) {
		b := s.db.pebble.NewBatch()
		defer b.Close()
		if err := b.Set(appendPrefix(nil, s.shard, kindVote), v.encode(), nil); err != nil {
			return fmt.Errorf("raftlog: set vote: %w", err)
		}
		s.db.commit(b, pebble.Sync)
	}
	s.stable.vote, s.stable.hasVote = v, true
	s.stable.held, s.stable.heldTerm = false, 0
	return nil
}

// SetUint64 implements raft.StableStore: on return the value is on disk, save for
// the term of a vote, which waits for its candidate.
func (s *Store) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// Get implements raft.StableStore. It returns a copy, or ErrNotFound.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.stable.mu.Lock()
	defer s.stable.mu.Unlock()
	st := &s.stable
	switch {
	case bytes.Equal(key, nameVoteTerm):
		if st.held {
			return binary.BigEndian.AppendUint64(nil, st.heldTerm), nil
		}
		if st.hasVote {
			return binary.BigEndian.AppendUint64(nil, st.vote.term), nil
		}
	case bytes.Equal(key, nameVoteCandidate):
		if st.hasVote && !st.held {
			return copyBytes(st.vote.candidate), nil
		}
	default:
		if v, ok := st.values[string(key)]; ok {
			return copyBytes(v), nil
		}
	}
	return nil, ErrNotFound
}

// GetUint64 implements raft.StableStore. It returns 0 and ErrNotFound for a key
// that was never set.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: %q is %d bytes", ErrNotUint64, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// forget drops what is in memory, after it was deleted on disk.
func (st *stable) forget() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.values = make(map[string][]byte)
	st.vote, st.hasVote = vote{}, false
	st.heldTerm, st.held = 0, false
}

// copyBytes returns a copy that is not nil: Raft takes a nil candidate for none.
func copyBytes(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
