package raftlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
	"millrace/raftlog/disk/crashfs"
)

// crashModel is what one shard was told and what it was promised. Its writer
// changes it under mu; a power cut looks at it under mu.
type crashModel struct {
	log       map[uint64]*raft.Log // acknowledged, and not asked to be deleted
	last      uint64
	maybe     map[uint64]*raft.Log // being appended
	maybeGone bool                 // a tail from last+1 on is being deleted or replaced
	written   map[uint64]map[string]bool
	term      [2]uint64 // acknowledged, under way
	vote      [2]string
	marker    [2]uint64
	first     uint64 // everything below was asked to be deleted
	resetting bool
}

func (m *crashModel) wrote(l *raft.Log) {
	if m.written[l.Index] == nil {
		m.written[l.Index] = make(map[string]bool)
	}
	m.written[l.Index][recordText(l)] = true
}

func recordText(l *raft.Log) string { return fmt.Sprintf("%d/%d/%s", l.Term, l.Type, l.Data) }

// check compares a store that was opened after a power cut with the model.
func (m *crashModel) check(s *Store) error {
	first, last := s.bounds()
	for i, want := range m.log {
		var got raft.Log
		if err := s.GetLog(i, &got); err != nil {
			if m.resetting {
				continue
			}
			return fmt.Errorf("acknowledged record %d: %w; log is [%d, %d]", i, err, first, last)
		}
		if recordText(&got) != recordText(want) {
			return fmt.Errorf("record %d is %s, acknowledged was %s", i, recordText(&got), recordText(want))
		}
	}
	// Whatever else there is was written by somebody, without a hole, and below or
	// at the last record there may be.
	for i := first; i <= last && first > 0; i++ {
		var got raft.Log
		if err := s.GetLog(i, &got); err != nil {
			return fmt.Errorf("record %d of [%d, %d]: %w", i, first, last, err)
		}
		if !m.written[i][recordText(&got)] {
			return fmt.Errorf("record %d is %s, which nobody wrote", i, recordText(&got))
		}
		if i > m.last && m.maybe[i] == nil && !m.maybeGone {
			return fmt.Errorf("record %d was deleted from the tail and is back; last is %d", i, m.last)
		}
	}
	if term, err := s.GetUint64([]byte("CurrentTerm")); m.term[0] > 0 && err != nil || term != m.term[0] && term != m.term[1] {
		return fmt.Errorf("term is %d (%v), want %v", term, err, m.term)
	}
	got := ""
	if term, err := s.GetUint64(nameVoteTerm); err == nil {
		c, err := s.Get(nameVoteCandidate)
		if err != nil {
			return fmt.Errorf("half a vote, in term %d", term)
		}
		got = fmt.Sprintf("%d/%s", term, c)
	}
	if got != m.vote[0] && got != m.vote[1] {
		return fmt.Errorf("vote is %q, want one of %q", got, m.vote)
	}
	if k, ok, _ := s.Marker(); m.marker[0] > 0 && !ok || k.Index != m.marker[0] && k.Index != m.marker[1] {
		return fmt.Errorf("marker is %v (%v), want %v", k.Index, ok, m.marker)
	}
	return nil
}

// crashWriter does to a shard what Raft does, at random, and keeps the model.
type crashWriter struct {
	mu    *sync.Mutex
	model *crashModel
	s     *Store
	rng   *rand.Rand
	raft  uint64 // its term
}

// do runs one call of the store: before it the model knows what is under way,
// after it what is promised.
func (w *crashWriter) do(begin func(*crashModel), call func() error, end func(*crashModel)) error {
	w.mu.Lock()
	begin(w.model)
	w.mu.Unlock()
	if err := call(); err != nil {
		return err
	}
	w.mu.Lock()
	end(w.model)
	w.mu.Unlock()
	return nil
}

func (w *crashWriter) step() error {
	m := w.model
	switch n := w.rng.IntN(100); {
	case n < 60:
		return w.append(m.last+1, 1+w.rng.IntN(6))
	case n < 68 && m.last > m.first+2: // a new leader replaces the tail
		w.raft++
		from := m.last - w.rng.Uint64N(min(m.last-m.first, 80))
		if err := w.deleteTail(from); err != nil {
			return err
		}
		return w.append(from, 1+w.rng.IntN(4))
	case n < 78: // election
		w.raft++
		if err := w.do(func(m *crashModel) { m.term[1] = w.raft },
			func() error { return w.s.SetUint64([]byte("CurrentTerm"), w.raft) },
			func(m *crashModel) { m.term[0] = w.raft }); err != nil {
			return err
		}
		who := fmt.Sprint("n", w.rng.IntN(3))
		v := fmt.Sprintf("%d/%s", w.raft, who)
		return w.do(func(m *crashModel) { m.vote[1] = v },
			func() error {
				if err := w.s.SetUint64(nameVoteTerm, w.raft); err != nil {
					return err
				}
				return w.s.Set(nameVoteCandidate, []byte(who))
			},
			func(m *crashModel) { m.vote[0] = v })
	case n < 95 && m.last > m.first+20: // snapshot: marker, then the head goes
		to := m.first + (m.last-m.first)*3/4
		if err := w.do(func(m *crashModel) { m.marker[1] = to },
			func() error { return w.s.PutMarker(Marker{Index: to, Term: w.raft}) },
			func(m *crashModel) { m.marker[0] = to }); err != nil {
			return err
		}
		return w.do(func(m *crashModel) {
			for i := m.first; i <= to; i++ {
				delete(m.log, i)
			}
			m.first = to + 1
		}, func() error { return w.s.DeleteRange(1, to) }, func(*crashModel) {})
	case n < 97: // a snapshot beyond the log was installed
		return w.do(func(m *crashModel) { m.resetting, m.maybeGone = true, true },
			w.s.ResetLog,
			func(m *crashModel) {
				m.resetting, m.maybeGone = false, false
				clear(m.log)
				clear(m.written)
				m.last += 5
				m.first = m.last + 1
			})
	}
	return nil
}

func (w *crashWriter) append(from uint64, n int) error {
	var logs []*raft.Log
	for i := range n {
		data := make([]byte, w.rng.IntN(700))
		for j := range data {
			data[j] = 'a' + byte(w.rng.IntN(26))
		}
		logs = append(logs, &raft.Log{Index: from + uint64(i), Term: w.raft, Data: data})
	}
	return w.do(func(m *crashModel) {
		for _, l := range logs {
			m.maybe[l.Index] = l
			m.wrote(l)
		}
	}, func() error { return w.s.StoreLogs(logs) }, func(m *crashModel) {
		for _, l := range logs {
			m.log[l.Index] = l
		}
		m.last = from + uint64(n) - 1
		clear(m.maybe)
	})
}

func (w *crashWriter) deleteTail(from uint64) error {
	return w.do(func(m *crashModel) {
		for i := from; i <= m.last; i++ {
			delete(m.log, i)
		}
		m.maybeGone = true
	}, func() error { return w.s.DeleteRange(from, w.model.last) }, func(m *crashModel) {
		m.last = from - 1
		m.maybeGone = false
	})
}

// TestPowerCut takes a power cut before and after every sync of a database that
// several shards write at once, with nothing, some or all of the unsynced bytes
// kept, and opens what is left: whatever a call had returned from is there.
func TestPowerCut(t *testing.T) {
	const shards = 3
	points := 3000
	if testing.Short() || raceEnabled {
		points = 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // of all models, and of what follows
	var models [shards]*crashModel
	rng := rand.New(rand.NewPCG(seed, 0))
	left := points
	var failure error
	armed := false
	opts := Options{MemTableBytes: 64 << 10, CacheBytes: 16 << 10}

	cut := func(path string) {
		mu.Lock()
		defer mu.Unlock()
		if !armed || left == 0 || failure != nil {
			return
		}
		left--
		percent := []int{0, 100, rng.IntN(101)}[rng.IntN(3)]
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		if err := checkClone(clone, opts, models[:]); err != nil {
			failure = fmt.Errorf("cut %d, at a sync of %s with %d %% of the unsynced kept: %w", points-left, path, percent, err)
		}
	}
	o := opts
	o.FS = crashfs.Wrap(mem, cut)
	db, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	var writers []*crashWriter
	for i := range shards {
		models[i] = &crashModel{
			log: map[uint64]*raft.Log{}, maybe: map[uint64]*raft.Log{},
			written: map[uint64]map[string]bool{}, first: 1,
		}
		writers = append(writers, &crashWriter{
			mu: &mu, model: models[i], s: db.Store(uint32(i)), raft: 1,
			rng: rand.New(rand.NewPCG(seed, uint64(i+1))),
		})
	}
	mu.Lock()
	armed = true
	mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for {
				mu.Lock()
				done := left == 0 || failure != nil
				mu.Unlock()
				if done {
					return
				}
				if err := w.step(); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	closeDB(t, db)
	if failure != nil {
		t.Fatal(failure)
	}
	// Closed in order, nothing is lost either.
	if err := checkClone(mem.CrashClone(vfs.CrashCloneCfg{}), opts, models[:]); err != nil {
		t.Fatal(err)
	}
}

func checkClone(fs vfs.FS, o Options, models []*crashModel) (err error) {
	o.FS = fs
	db, err := Open("log", o)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	for i, m := range models {
		if err := m.check(db.Store(uint32(i))); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	return nil
}

// The checker must see what it is there to see.
func TestPowerCutCheckerSees(t *testing.T) {
	db := openMem(t, Options{})
	s := db.Store(0)
	storeLogs(t, s, commands(1, 5, 1))
	setVote(t, s, 1, "n1")
	model := func() *crashModel {
		m := &crashModel{
			log: map[uint64]*raft.Log{}, maybe: map[uint64]*raft.Log{},
			written: map[uint64]map[string]bool{}, first: 1, last: 5, vote: [2]string{"1/n1", "1/n1"},
		}
		for _, l := range commands(1, 5, 1) {
			m.log[l.Index] = l
			m.wrote(l)
		}
		return m
	}
	if err := model().check(s); err != nil {
		t.Fatalf("the truth is refused: %v", err)
	}
	for name, lie := range map[string]func(*crashModel){
		"lost record":    func(m *crashModel) { m.log[6] = command(6, 1); m.last = 6 },
		"changed record": func(m *crashModel) { m.log[3] = command(3, 2) },
		"tail is back":   func(m *crashModel) { delete(m.log, 5); m.last = 4 },
		"phantom record": func(m *crashModel) { delete(m.log, 5); clear(m.written[5]) },
		"lost vote":      func(m *crashModel) { m.vote = [2]string{"2/n1", "2/n1"} },
		"lost term":      func(m *crashModel) { m.term = [2]uint64{1, 1} },
		"lost marker":    func(m *crashModel) { m.marker = [2]uint64{1, 1} },
	} {
		m := model()
		lie(m)
		if m.check(s) == nil {
			t.Errorf("%s is not seen", name)
		}
	}
}

// A flipped bit in what was synced to the WAL is not taken for its end. Pebble looks
// for proof of damage from the next block of 32 KiB on, so only damage before the
// last block can be told from a torn tail; the database is a new one, whose first
// WAL must be as safe as later ones.
func TestFlippedBitInWAL(t *testing.T) {
	mem := vfs.NewCrashableMem()
	db := mustOpen(t, mem, Options{})
	defer closeDB(t, db)
	s := db.Store(1)
	const records, size = 50, 4000
	for i := uint64(1); i <= records; i++ {
		storeLogs(t, s, []*raft.Log{{Index: i, Term: 1, Data: bytes.Repeat([]byte{'x'}, size)}})
	}
	for at := int64(100); at < records*size-2*32<<10; at += 7919 {
		clone := mem.CrashClone(vfs.CrashCloneCfg{})
		flipBit(t, clone, at)
		db, err := Open("log", Options{FS: clone})
		if err == nil {
			f, l := db.Store(1).bounds()
			closeDB(t, db)
			t.Fatalf("a WAL damaged at byte %d opens, with the log [%d, %d] of [1, %d]", at, f, l, records)
		}
		if disk.Classify(err) != disk.Corrupt {
			t.Fatalf("damage at byte %d is %v: %v", at, disk.Classify(err), err)
		}
	}
}

// flipBit damages the longest WAL in fs.
func flipBit(t *testing.T, fs vfs.FS, at int64) {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".log") {
			continue
		}
		f, err := fs.OpenReadWrite("log/"+n, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		if err == nil {
			b[0] ^= 1
			_, err = f.WriteAt(b, at)
		}
		if cerr := f.Close(); cerr != nil {
			t.Fatal(cerr)
		}
		if err == nil {
			return
		}
	}
	t.Fatalf("no WAL has a byte %d", at)
}
