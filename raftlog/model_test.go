package raftlog

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// The store is a map of records, whatever is stored and deleted, with a cache or
// without, and opened again at any time.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		opts := Options{FS: fs, MemTableBytes: 64 << 10, CacheBytes: rapid.SampledFrom([]int64{-1, 2000, 1 << 20}).Draw(t, "cache")}
		var db *DB
		open := func() {
			var err error
			if db, err = Open("log", opts); err != nil {
				t.Fatal(err)
			}
		}
		open()
		defer func() { _ = db.Close() }()
		model := map[uint64]string{}
		s := func() *Store { return db.Store(5) }
		edges := func() (first, last uint64) {
			for i := range model {
				if first == 0 || i < first {
					first = i
				}
				last = max(last, i)
			}
			return first, last
		}
		index := func(name string) uint64 {
			_, last := edges()
			return rapid.Uint64Range(0, last+20).Draw(t, name)
		}
		serial := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				_, last := edges()
				from := last + 1
				if rapid.IntRange(0, 9).Draw(t, "elsewhere") == 0 {
					from = index("from") + 1
				}
				n := rapid.SampledFrom([]int{1, 3, 64, 200}).Draw(t, "n")
				var logs []*raft.Log
				for i := range n {
					serial++
					l := &raft.Log{Index: from + uint64(i), Data: fmt.Append(nil, serial)}
					logs = append(logs, l)
					model[l.Index] = string(l.Data)
				}
				if err := s().StoreLogs(logs); err != nil {
					t.Fatal(err)
				}
			},
			"delete": func(t *rapid.T) {
				first, last := edges()
				lo, hi := first, last
				switch rapid.IntRange(0, 3).Draw(t, "part") {
				case 0: // head
					hi = index("hi")
				case 1: // tail
					lo = index("lo")
				case 2: // anything
					lo, hi = index("lo"), index("hi")
				}
				if err := s().DeleteRange(lo, hi); err != nil {
					t.Fatal(err)
				}
				for i := range model {
					if i >= lo && i <= hi {
						delete(model, i)
					}
				}
			},
			"reset": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
					return
				}
				if err := s().ResetLog(); err != nil {
					t.Fatal(err)
				}
				clear(model)
			},
			"reopen": func(t *rapid.T) {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				open()
			},
			"": func(t *rapid.T) {
				first, last := edges()
				if f, l := s().bounds(); f != first || l != last {
					t.Fatalf("log is [%d, %d], want [%d, %d]", f, l, first, last)
				}
				for i := uint64(0); i <= last+2; i++ {
					var l raft.Log
					err := s().GetLog(i, &l)
					want, ok := model[i]
					if ok && (err != nil || string(l.Data) != want || l.Index != i) || !ok && err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares so
						t.Fatalf("GetLog(%d) = %q, %v; want %q, %v", i, l.Data, err, want, ok)
					}
				}
			},
		})
	})
}
