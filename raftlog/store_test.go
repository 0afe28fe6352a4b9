package raftlog

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// TestEmptyLog reads and deletes in a log without records.
func TestEmptyLog(t *testing.T) {
	s := openMem(t, Options{}).Store(1)
	wantBounds(t, s, 0, 0)
	// Raft compares with ==, so that a wrapped error would be wrong.
	if err := s.GetLog(1, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // see above
		t.Fatalf("GetLog: %v", err)
	}
	if err := s.GetLog(0, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // see above
		t.Fatalf("GetLog(0): %v", err)
	}
	deleteRange(t, s, 1, 10)
	storeLogs(t, s, nil)
	wantBounds(t, s, 0, 0)
}

// TestNotMonotonic checks that Store does not implement MonotonicLogStore; see doc.go.
func TestNotMonotonic(t *testing.T) {
	if _, ok := any(new(Store)).(raft.MonotonicLogStore); ok {
		t.Fatal("Store implements MonotonicLogStore: Raft would delete acknowledged records after a snapshot install")
	}
}

// TestDeleteRange deletes from a log and compares its bounds and records, before and
// after a reopening.
func TestDeleteRange(t *testing.T) {
	long := uint64(pointDeletes * 3)
	cases := []struct {
		name        string
		runs        [][2]uint64 // stored one after the other
		lo, hi      uint64
		first, last uint64
		gone        []uint64
		there       []uint64
	}{
		{"head", [][2]uint64{{1, 10}}, 1, 4, 5, 10, []uint64{1, 4}, []uint64{5, 10}},
		{"head from below", [][2]uint64{{5, 10}}, 0, 6, 7, 10, []uint64{5, 6}, []uint64{7}},
		{"tail", [][2]uint64{{1, 10}}, 8, 10, 1, 7, []uint64{8, 10}, []uint64{1, 7}},
		{"tail from above", [][2]uint64{{1, 10}}, 8, 99, 1, 7, []uint64{8, 10}, []uint64{7}},
		{"all", [][2]uint64{{3, 10}}, 3, 10, 0, 0, []uint64{3, 10}, nil},
		{"all and more", [][2]uint64{{3, 10}}, 0, math.MaxUint64, 0, 0, []uint64{3, 10}, nil},
		{"middle", [][2]uint64{{1, 10}}, 4, 6, 1, 10, []uint64{4, 6}, []uint64{3, 7}},
		{"one", [][2]uint64{{1, 10}}, 10, 10, 1, 9, []uint64{10}, []uint64{9}},
		{"below", [][2]uint64{{5, 10}}, 1, 4, 5, 10, nil, []uint64{5}},
		{"above", [][2]uint64{{5, 10}}, 11, 20, 5, 10, nil, []uint64{10}},
		{"nothing", [][2]uint64{{5, 10}}, 8, 7, 5, 10, nil, []uint64{7, 8}},
		{"long head", [][2]uint64{{1, long + 5}}, 1, long, long + 1, long + 5, []uint64{1, long}, []uint64{long + 1}},
		{"long tail", [][2]uint64{{1, long + 5}}, 6, long + 5, 1, 5, []uint64{6, long + 5}, []uint64{5}},
		{"head into a gap", [][2]uint64{{1, 10}, {51, 60}}, 1, 30, 51, 60, []uint64{1, 30}, []uint64{51}},
		{"tail into a gap", [][2]uint64{{1, 10}, {51, 60}}, 30, 60, 1, 10, []uint64{30, 51, 60}, []uint64{10}},
		{"gap is not found", [][2]uint64{{1, 10}, {51, 60}}, 60, 60, 1, 59, []uint64{11, 50}, []uint64{10, 51}},
		{"head at the end of numbers", [][2]uint64{{math.MaxUint64 - 2, math.MaxUint64}}, 0, math.MaxUint64 - 1, math.MaxUint64, math.MaxUint64, nil, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			for _, cacheBytes := range []int64{-1, 0} {
				db := mustOpen(t, fs, Options{CacheBytes: cacheBytes})
				s := db.Store(7)
				if cacheBytes < 0 {
					for _, r := range c.runs {
						storeLogs(t, s, logsBetween(r[0], r[1]))
					}
					deleteRange(t, s, c.lo, c.hi)
				}
				wantBounds(t, s, c.first, c.last)
				for _, i := range c.gone {
					if err := s.GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares so
						t.Errorf("GetLog(%d): %v", i, err)
					}
				}
				for _, i := range c.there {
					var l raft.Log
					if err := s.GetLog(i, &l); err != nil || !reflect.DeepEqual(&l, command(i, 1)) {
						t.Errorf("GetLog(%d) = %+v, %v", i, l, err)
					}
				}
				closeDB(t, db) // the second round reads from disk
			}
		})
	}
}

// logsBetween is commands, except that last may be the greatest integer.
func logsBetween(first, last uint64) []*raft.Log {
	var logs []*raft.Log
	for i := first; ; i++ {
		logs = append(logs, command(i, 1))
		if i == last {
			return logs
		}
	}
}

// TestLogRestartsBelow stores records below the floor, as Raft may after it deleted the
// log.
func TestLogRestartsBelow(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	s := db.Store(1)
	storeLogs(t, s, commands(1, 300, 1))
	deleteRange(t, s, 1, 300)
	storeLogs(t, s, commands(100, 110, 2))
	wantBounds(t, s, 100, 110)
	closeDB(t, db)
	db = mustOpen(t, fs, Options{})
	defer closeDB(t, db)
	wantBounds(t, db.Store(1), 100, 110)
	var l raft.Log
	if err := db.Store(1).GetLog(105, &l); err != nil || l.Term != 2 {
		t.Fatalf("GetLog = %+v, %v", l, err)
	}
}

// TestTailIsReplaced deletes a tail and stores records of a later term in its place.
func TestTailIsReplaced(t *testing.T) {
	for _, cacheBytes := range []int64{-1, 0} {
		s := openMem(t, Options{CacheBytes: cacheBytes}).Store(1)
		storeLogs(t, s, commands(1, 200, 1))
		deleteRange(t, s, 100, 200)
		storeLogs(t, s, commands(100, 120, 2))
		wantBounds(t, s, 1, 120)
		for i, term := range map[uint64]uint64{99: 1, 100: 2, 120: 2} {
			var l raft.Log
			if err := s.GetLog(i, &l); err != nil || l.Term != term {
				t.Errorf("cache %d: GetLog(%d) = term %d, %v; want term %d", cacheBytes, i, l.Term, err, term)
			}
		}
		if err := s.GetLog(121, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares so
			t.Errorf("cache %d: GetLog(121): %v", cacheBytes, err)
		}
	}
}

// TestFieldsSurvive reads all kinds of records from the cache and from disk.
func TestFieldsSurvive(t *testing.T) {
	logs := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogNoop},
		{Index: 2, Term: 1, Type: raft.LogCommand, Data: []byte("d"), Extensions: []byte("x")},
		{Index: 3, Term: 2, Type: raft.LogBarrier, Extensions: []byte("only x")},
		{Index: 4, Term: math.MaxUint64, Type: raft.LogConfiguration, Data: bytes.Repeat([]byte{0}, 1<<20)},
	}
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	storeLogs(t, db.Store(1), logs)
	for range 2 { // from the cache, then from disk
		for _, want := range logs {
			var l raft.Log
			if err := db.Store(1).GetLog(want.Index, &l); err != nil || !reflect.DeepEqual(&l, want) {
				t.Fatalf("GetLog(%d): %v", want.Index, err)
			}
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{})
	}
	closeDB(t, db)
}

// TestLargeBatches stores records that together exceed a batch, one of them on its own.
func TestLargeBatches(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{CacheBytes: -1})
	s := db.Store(1)
	var logs []*raft.Log
	for i := range 12 {
		logs = append(logs, &raft.Log{Index: uint64(i + 1), Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 1<<20)})
	}
	logs[5].Data = bytes.Repeat([]byte{5}, 2*maxBatchBytes)
	storeLogs(t, s, logs)
	for range 2 {
		wantBounds(t, db.Store(1), 1, 12)
		for _, want := range logs {
			var l raft.Log
			if err := db.Store(1).GetLog(want.Index, &l); err != nil || !bytes.Equal(l.Data, want.Data) {
				t.Fatalf("GetLog(%d): %v", want.Index, err)
			}
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{CacheBytes: -1})
	}
	closeDB(t, db)
}

// TestRefusals checks that bad arguments are refused and nothing is written.
func TestRefusals(t *testing.T) {
	s := openMem(t, Options{}).Store(1)
	storeLogs(t, s, commands(1, 3, 1))
	for _, logs := range [][]*raft.Log{
		{command(0, 1)},
		{command(5, 1), command(5, 1)},
		{command(5, 1), command(4, 1)},
	} {
		if err := s.StoreLogs(logs); !errors.Is(err, ErrOrder) {
			t.Errorf("StoreLogs: %v", err)
		}
	}
	for _, m := range []Marker{
		{StagedBytes: -1},
		{Version: 1 << 16},
		{Staged: strings.Repeat("x", 1<<16)},
		{Configuration: raft.Configuration{Servers: []raft.Server{{Suffrage: 256}}}},
	} {
		if err := s.PutMarker(m); !errors.Is(err, ErrBadMarker) {
			t.Errorf("PutMarker: %v", err)
		}
	}
	wantBounds(t, s, 1, 3)
	if _, ok, _ := s.Marker(); ok {
		t.Error("a refused marker was stored")
	}
}

// TestShardsAreApart removes and resets some shards, and the others stay as they were.
func TestShardsAreApart(t *testing.T) {
	db := openMem(t, Options{})
	ids := []uint32{0, 1, 2, 255, 256, math.MaxUint32}
	for _, id := range ids {
		s := db.Store(id)
		storeLogs(t, s, commands(uint64(id%7)+1, uint64(id%7)+80, 1))
		if err := s.SetUint64([]byte("CurrentTerm"), uint64(id)); err != nil {
			t.Fatal(err)
		}
		if err := s.PutMarker(Marker{Index: uint64(id)}); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := db.Store(1), db.Store(1); first != second {
		t.Error("Store made a second store for one shard")
	}
	got, err := db.Shards()
	if err != nil || !reflect.DeepEqual(got, ids) {
		t.Fatalf("Shards = %v, %v", got, err)
	}
	if err := db.Store(255).Remove(); err != nil {
		t.Fatal(err)
	}
	if err := db.Store(math.MaxUint32).Remove(); err != nil {
		t.Fatal(err)
	}
	if err := db.Store(1).ResetLog(); err != nil {
		t.Fatal(err)
	}
	got, err = db.Shards()
	if want := []uint32{0, 1, 2, 256}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("Shards = %v, %v", got, err)
	}
	wantBounds(t, db.Store(1), 0, 0)
	wantBounds(t, db.Store(255), 0, 0)
	wantBounds(t, db.Store(256), uint64(256%7)+1, uint64(256%7)+80)
	wantBounds(t, db.Store(0), 1, 80)
}

// TestResetAndRemove checks that ResetLog deletes only the log and Remove everything,
// also after a reopening.
func TestResetAndRemove(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	s := db.Store(3)
	storeLogs(t, s, commands(1, 200, 1))
	deleteRange(t, s, 1, 100)
	setVote(t, s, 4, "a")
	if err := s.PutMarker(Marker{Index: 100, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.ResetLog(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = db.Store(3)
		wantBounds(t, s, 0, 0)
		wantVote(t, s, 4, "a")
		if m, ok, err := s.Marker(); !ok || err != nil || m.Index != 100 {
			t.Fatalf("Marker = %v, %v, %v", m, ok, err)
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{})
	}
	s = db.Store(3)
	storeLogs(t, s, commands(5, 9, 1)) // below the old floor
	wantBounds(t, s, 5, 9)
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = db.Store(3)
		wantBounds(t, s, 0, 0)
		if _, err := s.GetUint64(nameVoteTerm); !errors.Is(err, ErrNotFound) {
			t.Fatalf("vote after Remove: %v", err)
		}
		if _, ok, _ := s.Marker(); ok {
			t.Fatal("marker after Remove")
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{})
	}
	storeLogs(t, db.Store(3), commands(1, 2, 9)) // usable again
	wantBounds(t, db.Store(3), 1, 2)
	closeDB(t, db)
}

// TestMarker checks that a marker survives a reopening, and changes to its copies.
func TestMarker(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	s := db.Store(1)
	if _, ok, err := s.Marker(); ok || err != nil {
		t.Fatalf("Marker of a new shard: %v, %v", ok, err)
	}
	m := testMarker()
	if err := s.PutMarker(m); err != nil {
		t.Fatal(err)
	}
	want := testMarker()
	m.Configuration.Servers[0].ID = "changed by the caller"
	for range 2 {
		got, ok, err := db.Store(1).Marker()
		if !ok || err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Marker = %v, %v, %v", got, ok, err)
		}
		got.Configuration.Servers[0].ID = "changed by the reader"
		got, _, _ = db.Store(1).Marker()
		if !reflect.DeepEqual(got, want) {
			t.Fatal("a reader changed the marker")
		}
		closeDB(t, db)
		db = mustOpen(t, fs, Options{})
	}
	if err := db.Store(1).PutMarker(Marker{Index: 9}); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := db.Store(1).Marker(); !reflect.DeepEqual(got, Marker{Index: 9}) {
		t.Fatalf("Marker = %v", got)
	}
	closeDB(t, db)
}

func testMarker() Marker {
	return Marker{
		Index: 120, Term: 3, Applied: 118, ConfigurationIndex: 7,
		Configuration: raft.Configuration{Servers: []raft.Server{
			{Suffrage: raft.Voter, ID: "n1", Address: "n1"},
			{Suffrage: raft.Nonvoter, ID: "n2", Address: "host:1"},
		}},
		Staged: "in-00000001", StagedBytes: 4096, Version: 1,
	}
}

// TestClosed checks that all calls after Close return ErrClosed.
func TestClosed(t *testing.T) {
	db := mustOpen(t, vfs.NewMem(), Options{CacheBytes: -1})
	s := db.Store(1)
	storeLogs(t, s, commands(1, 3, 1))
	closeDB(t, db)
	_, shardsErr := db.Shards()
	for name, err := range map[string]error{
		"StoreLogs":   s.StoreLogs(commands(4, 4, 1)),
		"DeleteRange": s.DeleteRange(1, 1),
		"GetLog":      s.GetLog(1, new(raft.Log)),
		"SetUint64":   s.SetUint64([]byte("CurrentTerm"), 1),
		"PutMarker":   s.PutMarker(Marker{}),
		"ResetLog":    s.ResetLog(),
		"Remove":      s.Remove(),
		"Shards":      shardsErr,
		"Dump":        db.Dump(func(uint32, string, string) bool { return true }),
		"Close":       db.Close(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSearchStartsAtFloor checks the floor, from which Open searches for the first
// record. A search from index 0 would step over the tombstones of deleted records.
func TestSearchStartsAtFloor(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, fs, Options{})
	storeLogs(t, db.Store(1), commands(1, 500, 1))
	for _, to := range []uint64{10, 400, 450} { // one by one, and as a range
		deleteRange(t, db.Store(1), 1, to)
		if got := db.Store(1).floor; got != to+1 {
			t.Errorf("floor is %d after deleting up to %d", got, to)
		}
	}
	deleteRange(t, db.Store(1), 490, 500) // the tail does not move it
	closeDB(t, db)
	db = mustOpen(t, fs, Options{})
	defer closeDB(t, db)
	if got := db.Store(1).floor; got != 451 {
		t.Errorf("floor is %d after an open", got)
	}
	wantBounds(t, db.Store(1), 451, 489)
}
