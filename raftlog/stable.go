package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// ErrNotFound is returned by Get and GetUint64 for a key that was never set. Its text
// must stay as it is, because Raft compares the text.
var ErrNotFound = errors.New("not found")

// ErrNotUint64 is returned by GetUint64 for a value that SetUint64 did not write.
var ErrNotUint64 = errors.New("raftlog: stable value is not an integer")

// The names of the two values in which Raft stores its vote.
var (
	nameVoteTerm      = []byte("LastVoteTerm")
	nameVoteCandidate = []byte("LastVoteCand")
)

// stable is the state behind raft.StableStore of one shard. Raft keeps only three
// values, so all of them are in memory as well as on disk.
//
// Raft writes a vote as two values, first the term and then the candidate. After a
// crash between the two, Raft would read the new term with the old candidate, and
// confirm a vote that it never gave, without looking at that candidate's log. So Set
// holds the term in memory until the candidate comes, and then writes both as one
// value:
//
//	on disk: term 4, "a"
//	SetUint64(LastVoteTerm, 5)   held: reads return term 5, candidate not found
//	Set(LastVoteCand, "b")       written: term 5, "b"
//
// Raft takes a term without a candidate for "has not voted". After a crash between the
// two calls, the vote is again term 4 for "a". That is safe, because Raft answers the
// candidate only after both calls.
type stable struct {
	mu       sync.Mutex
	values   map[string][]byte // guarded by mu, as are all below; without the vote
	vote     vote              // as on disk
	hasVote  bool              // whether vote is set
	heldTerm uint64            // term of a vote whose candidate is not set yet
	held     bool              // whether heldTerm is set
}

// Set implements raft.StableStore. On return the value is on disk, except for the term
// of a vote, which is held until its candidate is set. It returns ErrClosed, and
// ErrNotUint64 for a vote's term that is not 8 bytes long.
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
	// Raft writes its current term at every start, even if it is unchanged. Skipping
	// such a write saves an fsync for each shard.
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

// SetUint64 implements raft.StableStore. It stores val as Set does, in 8 bytes.
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

// forget clears the values in memory, after they were deleted on disk.
func (st *stable) forget() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.values = make(map[string][]byte)
	st.vote, st.hasVote = vote{}, false
	st.heldTerm, st.held = 0, false
}

// copyBytes returns a copy of b that is never nil, because Raft takes a nil candidate
// for "has not voted".
func copyBytes(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
