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

// crashModel holds the calls that were made on one shard, and their acknowledgements. The
// shard's writer changes it, and a power cut reads it, both under powerCut.mu.
type crashModel struct {
	log       map[uint64]*raft.Log       // acknowledged, and no call asked to delete it
	last      uint64                     // last index of the log
	maybe     map[uint64]*raft.Log       // records of a StoreLogs under way
	maybeGone bool                       // a deletion of the records above last is under way
	written   map[uint64]map[string]bool // texts of all records ever written, by index
	term      [2]uint64                  // acknowledged, and under way
	vote      [2]string                  // acknowledged, and under way
	marker    [2]uint64                  // index: acknowledged, and under way
	first     uint64                     // a call asked to delete everything below
	resetting bool                       // a ResetLog is under way
}

func newCrashModel() *crashModel {
	return &crashModel{
		log: map[uint64]*raft.Log{}, maybe: map[uint64]*raft.Log{},
		written: map[uint64]map[string]bool{}, first: 1,
	}
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
	for _, compare := range []func(*Store) error{m.checkLog, m.checkStable, m.checkMarker} {
		if err := compare(s); err != nil {
			return err
		}
	}
	return nil
}

func (m *crashModel) checkLog(s *Store) error {
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
	// The log may hold more records than the acknowledged ones. They must have been
	// written at some time, have no gap, and not be above the last possible record.
	for i := first; i <= last && first > 0; i++ {
		var got raft.Log
		if err := s.GetLog(i, &got); err != nil {
			return fmt.Errorf("record %d of [%d, %d]: %w", i, first, last, err)
		}
		if !m.written[i][recordText(&got)] {
			return fmt.Errorf("record %d is %s, which was never written", i, recordText(&got))
		}
		if i > m.last && m.maybe[i] == nil && !m.maybeGone {
			return fmt.Errorf("record %d was deleted from the tail and is back; last is %d", i, m.last)
		}
	}
	return nil
}

func (m *crashModel) checkStable(s *Store) error {
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
	return nil
}

func (m *crashModel) checkMarker(s *Store) error {
	if k, ok, _ := s.Marker(); m.marker[0] > 0 && !ok || k.Index != m.marker[0] && k.Index != m.marker[1] {
		return fmt.Errorf("marker is %v (%v), want %v", k.Index, ok, m.marker)
	}
	return nil
}

// crashWriter calls a store as Raft does, at random, and keeps the model up to date.
type crashWriter struct {
	mu    *sync.Mutex // powerCut.mu
	model *crashModel
	s     *Store
	rng   *rand.Rand
	term  uint64 // Raft's current term
}

// do makes one call of the store. Before the call, begin notes in the model that it is
// under way; after it, end notes that it is acknowledged.
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

// step makes the calls of one random event of a Raft group.
func (w *crashWriter) step() error {
	m := w.model
	switch n := w.rng.IntN(100); {
	case n < 60:
		return w.append(m.last+1, 1+w.rng.IntN(6))
	case n < 68 && m.last > m.first+2: // a new leader replaces the tail
		w.term++
		from := m.last - w.rng.Uint64N(min(m.last-m.first, 80))
		if err := w.deleteTail(from); err != nil {
			return err
		}
		return w.append(from, 1+w.rng.IntN(4))
	case n < 78:
		return w.elect()
	case n < 95 && m.last > m.first+20:
		return w.snapshot(m.first + (m.last-m.first)*3/4)
	case n < 97: // a received snapshot was installed that ends above the log
		return w.reset()
	}
	return nil
}

// elect begins a new term and votes in it.
func (w *crashWriter) elect() error {
	w.term++
	if err := w.do(func(m *crashModel) { m.term[1] = w.term },
		func() error { return w.s.SetUint64([]byte("CurrentTerm"), w.term) },
		func(m *crashModel) { m.term[0] = w.term }); err != nil {
		return err
	}
	candidate := fmt.Sprint("n", w.rng.IntN(3))
	v := fmt.Sprintf("%d/%s", w.term, candidate)
	return w.do(func(m *crashModel) { m.vote[1] = v },
		func() error {
			if err := w.s.SetUint64(nameVoteTerm, w.term); err != nil {
				return err
			}
			return w.s.Set(nameVoteCandidate, []byte(candidate))
		},
		func(m *crashModel) { m.vote[0] = v })
}

// snapshot writes a marker for index to, and then deletes the records up to there.
func (w *crashWriter) snapshot(to uint64) error {
	if err := w.do(func(m *crashModel) { m.marker[1] = to },
		func() error { return w.s.PutMarker(Marker{Index: to, Term: w.term}) },
		func(m *crashModel) { m.marker[0] = to }); err != nil {
		return err
	}
	return w.do(func(m *crashModel) {
		for i := m.first; i <= to; i++ {
			delete(m.log, i)
		}
		m.first = to + 1
	}, func() error { return w.s.DeleteRange(1, to) }, func(*crashModel) {})
}

func (w *crashWriter) reset() error {
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

func (w *crashWriter) append(from uint64, n int) error {
	var logs []*raft.Log
	for i := range n {
		data := make([]byte, w.rng.IntN(700))
		for j := range data {
			data[j] = 'a' + byte(w.rng.IntN(26))
		}
		logs = append(logs, &raft.Log{Index: from + uint64(i), Term: w.term, Data: data})
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

// powerCut cuts the power at the syncs of a file system and checks the remains.
type powerCut struct {
	fs   *vfs.MemFS
	opts Options // of the databases that are opened on clones of fs

	mu      sync.Mutex
	rng     *rand.Rand    // guarded by mu, as are all below
	models  []*crashModel // by shard
	armed   bool          // the writers run
	points  int           // number of cuts
	left    int           // cuts still to come
	failure error         // the first
}

// TestPowerCut lets several shards write one database, and cuts the power before and
// after every sync. Each cut keeps none, some or all of the unsynced bytes. The database
// that is opened from the remains must have the effects of every call that had returned.
func TestPowerCut(t *testing.T) {
	const shards = 3
	points := 3000
	if testing.Short() || raceEnabled {
		points = 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := &powerCut{
		fs: vfs.NewCrashableMem(), opts: Options{MemTableBytes: 64 << 10, CacheBytes: 16 << 10},
		rng: rand.New(rand.NewPCG(seed, 0)), points: points, left: points,
	}
	o := p.opts
	o.FS = crashfs.Wrap(p.fs, p.cut)
	db, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	var writers []*crashWriter
	for i := range shards {
		m := newCrashModel()
		writers = append(writers, &crashWriter{
			mu: &p.mu, model: m, s: db.Store(uint32(i)), term: 1,
			rng: rand.New(rand.NewPCG(seed, uint64(i+1))),
		})
		p.models = append(p.models, m)
	}
	p.mu.Lock()
	p.armed = true
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() { p.write(w) })
	}
	wg.Wait()
	closeDB(t, db)
	if p.failure != nil {
		t.Fatal(p.failure)
	}
	// After Close, unsynced bytes must not matter either.
	if err := checkClone(p.fs.CrashClone(vfs.CrashCloneCfg{}), p.opts, p.models); err != nil {
		t.Fatal(err)
	}
}

// cut is called before and after each sync of path. It opens and checks a clone of the
// file system, as a power cut at this moment may leave it.
func (p *powerCut) cut(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed || p.left == 0 || p.failure != nil {
		return
	}
	p.left--
	percent := []int{0, 100, p.rng.IntN(101)}[p.rng.IntN(3)]
	clone := p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: p.rng})
	if err := checkClone(clone, p.opts, p.models); err != nil {
		p.failure = fmt.Errorf("cut %d, at a sync of %s with %d %% of the unsynced bytes kept: %w", p.points-p.left, path, percent, err)
	}
}

// write runs steps of w until all cuts were made, or one has failed.
func (p *powerCut) write(w *crashWriter) {
	for {
		p.mu.Lock()
		done := p.left == 0 || p.failure != nil
		p.mu.Unlock()
		if done {
			return
		}
		if err := w.step(); err != nil {
			p.mu.Lock()
			p.failure = err
			p.mu.Unlock()
		}
	}
}

// checkClone opens the database in fs and compares each shard with its model.
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

// TestPowerCutCheckerSees checks that crashModel.check finds each kind of loss.
func TestPowerCutCheckerSees(t *testing.T) {
	db := openMem(t, Options{})
	s := db.Store(0)
	storeLogs(t, s, commands(1, 5, 1))
	setVote(t, s, 1, "n1")
	model := func() *crashModel {
		m := newCrashModel()
		m.last, m.vote = 5, [2]string{"1/n1", "1/n1"}
		for _, l := range commands(1, 5, 1) {
			m.log[l.Index] = l
			m.wrote(l)
		}
		return m
	}
	if err := model().check(s); err != nil {
		t.Fatalf("the correct model is refused: %v", err)
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
			t.Errorf("%s is not found", name)
		}
	}
}

// TestFlippedBitInWAL flips bits in synced parts of the WAL, and Open must report
// corruption instead of taking the place for the end of the WAL. Pebble looks for intact
// blocks of 32 KiB after the damage, so damage in the last block looks like a torn tail
// and is left out here. The database is new, because its first WAL must be as safe as
// the later ones.
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

// flipBit flips a bit of byte at in the first WAL of fs that is long enough.
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
