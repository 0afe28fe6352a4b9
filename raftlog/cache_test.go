package raftlog

import (
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

func cached(c *cache, shard uint32, lo, hi uint64) (got []uint64) {
	for i := lo; i <= hi; i++ {
		var l raft.Log
		if c.get(shard, i, &l) {
			if l.Index != i {
				panic("the wrong record")
			}
			got = append(got, i)
		}
	}
	return got
}

func wantCached(t *testing.T, c *cache, shard uint32, lo, hi uint64) {
	t.Helper()
	got := cached(c, shard, 0, hi+50)
	if lo > hi {
		if len(got) > 0 {
			t.Fatalf("shard %d has %v, want nothing", shard, got)
		}
		return
	}
	if uint64(len(got)) != hi-lo+1 || got[0] != lo {
		t.Fatalf("shard %d has %v, want [%d, %d]", shard, got, lo, hi)
	}
}

func TestCacheTruncation(t *testing.T) {
	c := newCache(1 << 20)
	for i := uint64(1); i <= 91; i += 10 {
		c.add(1, commands(i, i+9, 1))
	}
	c.add(2, commands(1, 20, 1))
	wantCached(t, c, 1, 1, 100)
	c.dropTo(1, 35) // the head goes, and no more
	wantCached(t, c, 1, 36, 100)
	c.dropFrom(1, 77) // the tail goes, and no more
	wantCached(t, c, 1, 36, 76)
	c.add(1, commands(60, 61, 2)) // what is replaced goes, and what was above it
	wantCached(t, c, 1, 36, 61)
	var l raft.Log
	if c.get(1, 60, &l); l.Term != 2 {
		t.Fatal("the replaced record is still there")
	}
	wantCached(t, c, 2, 1, 20) // another shard's
	c.dropTo(1, 1000)
	c.dropFrom(2, 0)
	if c.size() != 0 || c.oldest != nil || c.newest != nil || len(c.shards) != 0 {
		t.Fatalf("%d bytes left in an empty cache", c.size())
	}
}

// Over the bound, what was added first goes first, whichever shard's it is.
func TestCacheBound(t *testing.T) {
	one := cost(command(1, 1))
	c := newCache(20 * one)
	c.add(1, commands(1, 9, 1))
	c.add(2, commands(1, 9, 1))
	wantCached(t, c, 1, 1, 9)
	c.add(2, commands(10, 12, 1))
	wantCached(t, c, 1, 1, 0)
	wantCached(t, c, 2, 1, 12)
	c.add(3, []*raft.Log{{Index: 1, Data: make([]byte, 30*one)}}) // more than fits at all
	wantCached(t, c, 3, 1, 0)
	if c.size() > c.limit {
		t.Fatalf("%d bytes of %d", c.size(), c.limit)
	}
	off := newCache(-1)
	off.add(1, commands(1, 3, 1))
	wantCached(t, off, 1, 1, 0)
}

// The cache never has what the log has not, counts its bytes right, and stays
// within its bound, whatever is done to it.
func TestCacheAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newCache(1 + rng.Int64N(20_000))
		log := [3]map[uint64]*raft.Log{{}, {}, {}}
		last := [3]uint64{}
		for range 300 {
			s := rng.IntN(3)
			switch rng.IntN(5) {
			case 0:
				at := rng.Uint64N(last[s] + 2)
				c.dropTo(uint32(s), at)
				for i := range log[s] {
					if i <= at {
						delete(log[s], i)
					}
				}
			case 1:
				at := rng.Uint64N(last[s] + 2)
				c.dropFrom(uint32(s), at)
				for i := range log[s] {
					if i >= at {
						delete(log[s], i)
					}
				}
			default:
				from := last[s] + 1 + rng.Uint64N(2)*rng.Uint64N(5) - min(last[s], rng.Uint64N(2)*rng.Uint64N(9))
				logs := commands(from, from+rng.Uint64N(8), rng.Uint64())
				if len(logs) > 4 && rng.IntN(4) == 0 {
					logs = append(logs[:2], logs[3:]...) // a gap
				}
				for i := range log[s] {
					if i >= from {
						delete(log[s], i)
					}
				}
				c.add(uint32(s), logs)
				for _, l := range logs {
					log[s][l.Index] = l
					last[s] = l.Index
				}
			}
			var bytes int64
			for s := range 3 {
				for _, i := range cached(c, uint32(s), 0, last[s]+20) {
					var l raft.Log
					c.get(uint32(s), i, &l)
					if log[s][i] == nil || l.Term != log[s][i].Term {
						t.Fatalf("seed %d: shard %d has record %d, which the log has not", seed, s, i)
					}
					bytes += cost(&l)
				}
			}
			if bytes != c.size() || bytes > c.limit {
				t.Fatalf("seed %d: %d bytes, counted %d, bound %d", seed, bytes, c.size(), c.limit)
			}
		}
	}
}

// GetLog reads what was just written from memory, and counts it.
func TestCacheServes(t *testing.T) {
	db := openMem(t, Options{})
	s := db.Store(1)
	storeLogs(t, s, commands(1, 10, 1))
	deleteRange(t, s, 1, 4)
	for i := uint64(5); i <= 10; i++ {
		if err := s.GetLog(i, new(raft.Log)); err != nil {
			t.Fatal(err)
		}
	}
	if m := db.Metrics(); m.CacheHits != 6 || m.CacheMisses != 0 || m.CacheBytes == 0 || m.Records != 10 ||
		m.RecordBytes == 0 || m.Truncations != 1 || m.Stores != 1 || m.Pebble == nil {
		t.Fatalf("%+v", m)
	}
}
