package raftlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func setVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	if err := errors.Join(s.SetUint64(nameVoteTerm, term), s.Set(nameVoteCandidate, []byte(candidate))); err != nil {
		t.Fatal(err)
	}
}

func wantVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	gotTerm, err := s.GetUint64(nameVoteTerm)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(nameVoteCandidate)
	if err != nil {
		t.Fatal(err)
	}
	if gotTerm != term || string(got) != candidate {
		t.Fatalf("vote is %d for %q, want %d for %q", gotTerm, got, term, candidate)
	}
}

// TestStableNotFound checks the error's text, because Raft compares it.
func TestStableNotFound(t *testing.T) {
	s := openMem(t, Options{}).Store(1)
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand", ""} {
		if v, err := s.Get([]byte(key)); err == nil || err.Error() != "not found" || v != nil {
			t.Errorf("Get(%q) = %q, %v", key, v, err)
		}
		if v, err := s.GetUint64([]byte(key)); err == nil || err.Error() != "not found" || v != 0 {
			t.Errorf("GetUint64(%q) = %d, %v", key, v, err)
		}
	}
}

// TestStableValues reads values before and after a reopening.
func TestStableValues(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	s := db.Store(1)
	in := []byte("value")
	if err := errors.Join(s.Set([]byte("k"), in), s.Set([]byte("empty"), nil), s.SetUint64([]byte("n"), 1<<40)); err != nil {
		t.Fatal(err)
	}
	in[0] = 'X' // the store must have a copy
	for range 2 {
		s = db.Store(1)
		if v, err := s.Get([]byte("k")); err != nil || string(v) != "value" {
			t.Fatalf("Get = %q, %v", v, err)
		}
		if v, err := s.Get([]byte("empty")); err != nil || v == nil || len(v) != 0 {
			t.Fatalf("Get(empty) = %v, %v", v, err)
		}
		if n, err := s.GetUint64([]byte("n")); err != nil || n != 1<<40 {
			t.Fatalf("GetUint64 = %d, %v", n, err)
		}
		if _, err := s.GetUint64([]byte("k")); !errors.Is(err, ErrNotUint64) {
			t.Fatalf("GetUint64 of a string: %v", err)
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{})
	}
	closeDB(t, db)
}

// TestIdenticalRewriteIsSkipped checks that a write of the present value costs no fsync,
// because Raft rewrites its term at each start.
func TestIdenticalRewriteIsSkipped(t *testing.T) {
	db := openMem(t, Options{})
	s := db.Store(1)
	term := []byte("CurrentTerm")
	steps := []struct {
		name  string
		do    func() error
		syncs uint64
	}{
		{"first", func() error { return s.SetUint64(term, 5) }, 1},
		{"same", func() error { return s.SetUint64(term, 5) }, 1},
		{"other", func() error { return s.SetUint64(term, 6) }, 2},
		{"back", func() error { return s.SetUint64(term, 5) }, 3},
		{"vote term is held", func() error { return s.SetUint64(nameVoteTerm, 5) }, 3},
		{"vote", func() error { return s.Set(nameVoteCandidate, []byte("a")) }, 4},
		{"vote term again", func() error { return s.SetUint64(nameVoteTerm, 5) }, 4},
		{"same vote", func() error { return s.Set(nameVoteCandidate, []byte("a")) }, 4},
		{"re-vote in the term", func() error { setVote(t, s, 5, "b"); return nil }, 5},
		{"vote in another term", func() error { setVote(t, s, 6, "b"); return nil }, 6},
	}
	for _, c := range steps {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if got := db.Metrics().Syncs; got != c.syncs {
			t.Fatalf("%s: %d syncs, want %d", c.name, got, c.syncs)
		}
	}
	wantVote(t, s, 6, "b")
}

// TestVoteIsAtomic checks that a vote's term is only in memory until its candidate is
// set.
func TestVoteIsAtomic(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	s := db.Store(1)
	setVote(t, s, 4, "a")
	if err := s.SetUint64(nameVoteTerm, 5); err != nil {
		t.Fatal(err)
	}
	if term, err := s.GetUint64(nameVoteTerm); err != nil || term != 5 {
		t.Fatalf("held term reads as %d, %v", term, err)
	}
	// The new term with the old candidate would look like a vote for that candidate.
	if v, err := s.Get(nameVoteCandidate); !errors.Is(err, ErrNotFound) || v != nil {
		t.Fatalf("candidate of a held term = %q, %v", v, err)
	}
	closeDB(t, db)
	db = mustOpen(t, fs, Options{})
	s = db.Store(1)
	wantVote(t, s, 4, "a") // the half vote is gone

	setVote(t, s, 5, "b")
	closeDB(t, db)
	db = mustOpen(t, fs, Options{})
	wantVote(t, db.Store(1), 5, "b")
	closeDB(t, db)
}

// TestVoteHalves sets each half of a vote alone, as callers other than Raft may.
func TestVoteHalves(t *testing.T) {
	s := openMem(t, Options{}).Store(1)
	if err := s.Set(nameVoteCandidate, []byte("a")); err != nil {
		t.Fatal(err)
	}
	wantVote(t, s, 0, "a")
	if err := s.SetUint64(nameVoteTerm, 7); err != nil {
		t.Fatal(err)
	}
	if err := s.SetUint64(nameVoteTerm, 8); err != nil { // the later one counts
		t.Fatal(err)
	}
	if err := s.Set(nameVoteCandidate, nil); err != nil {
		t.Fatal(err)
	}
	wantVote(t, s, 8, "")
	if v, _ := s.Get(nameVoteCandidate); v == nil {
		t.Fatal("an empty candidate reads as nil, which Raft takes for no vote")
	}
	if err := s.Set(nameVoteTerm, []byte("text")); !errors.Is(err, ErrNotUint64) {
		t.Fatalf("Set of a term that is not an integer: %v", err)
	}
}

// FuzzVote checks that votes survive encoding and decoding, and that any bytes that
// decode are the encoding of the result.
func FuzzVote(f *testing.F) {
	f.Add(uint64(3), []byte("node"))
	f.Fuzz(func(t *testing.T, term uint64, candidate []byte) {
		v, err := decodeVote(vote{term, candidate}.encode())
		if err != nil || v.term != term || !bytes.Equal(v.candidate, candidate) {
			t.Fatalf("%v, %v", v, err)
		}
		if w, err := decodeVote(candidate); err == nil && !bytes.Equal(w.encode(), candidate) {
			t.Fatalf("%x decodes, and encodes as %x", candidate, w.encode())
		}
	})
}
