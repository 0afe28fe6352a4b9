package raftlog

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// TestAgainstModel compares a store with a map of records, while random records are
// stored and deleted and the database is reopened, with and without a cache.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &logModel{
			opts: Options{
				FS: vfs.NewMem(), MemTableBytes: 64 << 10,
				CacheBytes: rapid.SampledFrom([]int64{-1, 2000, 1 << 20}).Draw(t, "cache"),
			},
			records: map[uint64]string{},
		}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.appendSome,
			"delete": m.deleteSome,
			"reset":  m.reset,
			"reopen": m.reopen,
			"":       m.check,
		})
	})
}

// logModel is a store under test and the records that it should hold.
type logModel struct {
	opts    Options
	db      *DB
	records map[uint64]string // data by index
	serial  int               // number of the newest record, its data
}

func (m *logModel) store() *Store { return m.db.Store(5) }

// edges returns the first and the last index of the model, 0 and 0 when it is empty.
func (m *logModel) edges() (first, last uint64) {
	for i := range m.records {
		if first == 0 || i < first {
			first = i
		}
		last = max(last, i)
	}
	return first, last
}

// index draws an index in the log or up to 20 above it.
func (m *logModel) index(t *rapid.T, name string) uint64 {
	_, last := m.edges()
	return rapid.Uint64Range(0, last+20).Draw(t, name)
}

func (m *logModel) open(t *rapid.T) {
	var err error
	if m.db, err = Open("log", m.opts); err != nil {
		t.Fatal(err)
	}
}

func (m *logModel) reopen(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

func (m *logModel) appendSome(t *rapid.T) {
	_, last := m.edges()
	from := last + 1
	if rapid.IntRange(0, 9).Draw(t, "elsewhere") == 0 {
		from = m.index(t, "from") + 1
	}
	n := rapid.SampledFrom([]int{1, 3, 64, 200}).Draw(t, "n")
	var logs []*raft.Log
	for i := range n {
		m.serial++
		l := &raft.Log{Index: from + uint64(i), Data: fmt.Append(nil, m.serial)}
		logs = append(logs, l)
		m.records[l.Index] = string(l.Data)
	}
	if err := m.store().StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

func (m *logModel) deleteSome(t *rapid.T) {
	first, last := m.edges()
	lo, hi := first, last
	switch rapid.IntRange(0, 3).Draw(t, "part") {
	case 0: // head
		hi = m.index(t, "hi")
	case 1: // tail
		lo = m.index(t, "lo")
	case 2: // anything
		lo, hi = m.index(t, "lo"), m.index(t, "hi")
	}
	if err := m.store().DeleteRange(lo, hi); err != nil {
		t.Fatal(err)
	}
	for i := range m.records {
		if i >= lo && i <= hi {
			delete(m.records, i)
		}
	}
}

func (m *logModel) reset(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
		return
	}
	if err := m.store().ResetLog(); err != nil {
		t.Fatal(err)
	}
	clear(m.records)
}

// check compares bounds and records of the store with the model.
func (m *logModel) check(t *rapid.T) {
	first, last := m.edges()
	if f, l := m.store().bounds(); f != first || l != last {
		t.Fatalf("log is [%d, %d], want [%d, %d]", f, l, first, last)
	}
	for i := uint64(0); i <= last+2; i++ {
		var l raft.Log
		err := m.store().GetLog(i, &l)
		want, ok := m.records[i]
		if ok && (err != nil || string(l.Data) != want || l.Index != i) || !ok && err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares with == too
			t.Fatalf("GetLog(%d) = %q, %v; want %q, %v", i, l.Data, err, want, ok)
		}
	}
}
