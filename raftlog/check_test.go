package raftlog

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

var checkConfiguration = raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b", Suffrage: raft.Nonvoter}}}

// TestCheck runs Check over sound logs, and over logs that a disk or a bug has damaged.
func TestCheck(t *testing.T) {
	db, err := Open("raftlog", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	storeDamagedLogs(t, db)

	found := map[uint32][]string{}
	parts, err := db.Check(func(shard uint32, text string) { found[shard] = append(found[shard], text) }, nil)
	if err != nil || len(parts) != 5 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	wantFaults(t, found, map[uint32][]string{
		0: {"unknown kind: ee"},
		2: {"records 3 to 4 are missing"},
		3: {"record 3 is of term 1, the one before of term 2"},
		4: {"marker: corruption: ", "record: corruption: "},
	})
	p := parts[0]
	if p.First != 1 || p.Last != 3 || p.LastTerm != 2 || p.Records != 3 || p.ConfigurationIndex != 2 || len(p.Configuration.Servers) != 2 {
		t.Errorf("%+v", p)
	}
	if p := parts[4]; p.Marker == nil || p.ConfigurationIndex != 4 || p.Records != 0 {
		t.Errorf("%+v", p)
	}
}

// storeDamagedLogs writes the logs of shards 1 to 5. Shard 2 has a gap, shard 3 a term
// that falls, shard 4 an undecodable record and marker. One more key is of no known kind.
func storeDamagedLogs(t *testing.T, db *DB) {
	t.Helper()
	set := func(key, value []byte) {
		t.Helper()
		if err := db.pebble.Set(key, value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	storeTerms(t, db.Store(1), 1, 1, 2)
	storeTerms(t, db.Store(2), 1, 1, 1, 1, 1)
	deleteRange(t, db.Store(2), 3, 4)
	storeTerms(t, db.Store(3), 2, 2, 1)
	storeTerms(t, db.Store(4), 1)
	set(recordKey(4, 2), []byte{9})
	set(appendPrefix(nil, 4, kindMarker), []byte{1, 2})
	m := Marker{Index: 7, Term: 3, Applied: 6, ConfigurationIndex: 4, Configuration: checkConfiguration, Version: 1}
	if err := db.Store(5).PutMarker(m); err != nil {
		t.Fatal(err)
	}
	set([]byte{0xEE}, nil)
}

// storeTerms stores records of these terms from index 1 on; record 2 is a configuration.
func storeTerms(t *testing.T, s *Store, terms ...uint64) {
	t.Helper()
	for i, term := range terms {
		l := &raft.Log{Index: uint64(i + 1), Term: term, Data: []byte("x")}
		if i == 1 {
			l.Type, l.Data = raft.LogConfiguration, raft.EncodeConfiguration(checkConfiguration)
		}
		storeLogs(t, s, []*raft.Log{l})
	}
}

// wantFaults compares the faults of each shard with parts of their texts.
func wantFaults(t *testing.T, found, want map[uint32][]string) {
	t.Helper()
	for shard, texts := range want {
		if len(found[shard]) != len(texts) {
			t.Errorf("shard %d: %q", shard, found[shard])
			continue
		}
		for i := range texts {
			if !strings.Contains(found[shard][i], texts[i]) {
				t.Errorf("shard %d: %q, want %q", shard, found[shard][i], texts[i])
			}
		}
	}
	if len(found) != len(want) {
		t.Errorf("found %v", found)
	}
}

// TestPartEnd checks that the end comes from the log or the marker, the greater one.
func TestPartEnd(t *testing.T) {
	marker := func(term, index uint64) *Marker { return &Marker{Term: term, Index: index} }
	for _, tc := range []struct {
		part        Part
		term, index uint64
	}{
		{Part{}, 0, 0},
		{Part{Last: 9, LastTerm: 2}, 2, 9},
		{Part{Marker: marker(3, 7)}, 3, 7},
		{Part{Last: 9, LastTerm: 3, Marker: marker(3, 7)}, 3, 9},
		{Part{Last: 9, LastTerm: 2, Marker: marker(3, 7)}, 3, 7},
	} {
		if term, index := tc.part.End(); term != tc.term || index != tc.index {
			t.Errorf("%+v ends at term %d, index %d", tc.part, term, index)
		}
	}
}
