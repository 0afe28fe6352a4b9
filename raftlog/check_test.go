package raftlog

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// What Check says of logs as they should be, and of what a disk or a bug may have made
// of them.
func TestCheck(t *testing.T) {
	db, err := Open("raftlog", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conf := raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b", Suffrage: raft.Nonvoter}}}
	fill := func(shard uint32, terms ...uint64) *Store {
		t.Helper()
		s := db.Store(shard)
		for i, term := range terms {
			l := &raft.Log{Index: uint64(i + 1), Term: term, Data: []byte("x")}
			if i == 1 {
				l.Type, l.Data = raft.LogConfiguration, raft.EncodeConfiguration(conf)
			}
			if err := s.StoreLog(l); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	set := func(key, value []byte) {
		t.Helper()
		if err := db.pebble.Set(key, value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	fill(1, 1, 1, 2)
	if err := fill(2, 1, 1, 1, 1, 1).DeleteRange(3, 4); err != nil {
		t.Fatal(err)
	}
	fill(3, 2, 2, 1)
	fill(4, 1)
	set(recordKey(4, 2), []byte{9})
	set(appendPrefix(nil, 4, kindMarker), []byte{1, 2})
	if err := db.Store(5).PutMarker(Marker{Index: 7, Term: 3, Applied: 6, ConfigurationIndex: 4, Configuration: conf, Version: 1}); err != nil {
		t.Fatal(err)
	}
	set([]byte{0xEE}, nil)

	found := map[uint32][]string{}
	parts, err := db.Check(func(shard uint32, text string) { found[shard] = append(found[shard], text) }, nil)
	if err != nil || len(parts) != 5 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for shard, want := range map[uint32][]string{
		0: {"unknown kind: ee"},
		2: {"records 3 to 4 are missing"},
		3: {"record 3 is of term 1, the one before of term 2"},
		4: {"marker: corruption: ", "record: corruption: "},
	} {
		if len(found[shard]) != len(want) {
			t.Errorf("shard %d: %q", shard, found[shard])
			continue
		}
		for i := range want {
			if !strings.Contains(found[shard][i], want[i]) {
				t.Errorf("shard %d: %q, want %q", shard, found[shard][i], want[i])
			}
		}
	}
	if len(found) != 4 {
		t.Errorf("found %v", found)
	}
	p := parts[0]
	if p.First != 1 || p.Last != 3 || p.LastTerm != 2 || p.Records != 3 || p.ConfigurationIndex != 2 || len(p.Configuration.Servers) != 2 {
		t.Errorf("%+v", p)
	}
	if p := parts[4]; p.Marker == nil || p.ConfigurationIndex != 4 || p.Records != 0 {
		t.Errorf("%+v", p)
	}
}

// Up to where a replica goes, by its log or its snapshot.
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
