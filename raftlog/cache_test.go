package raftlog

import (
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

// cached returns the indexes in [lo, hi] that the cache has.
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

// wantCached checks that the cache has exactly lo to hi of a shard; none if lo > hi.
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
	c.dropTo(1, 35) // only the head goes
	wantCached(t, c, 1, 36, 100)
	c.dropFrom(1, 77) // only the tail goes
	wantCached(t, c, 1, 36, 76)
	c.add(1, commands(60, 61, 2)) // the replaced records go, and all above them
	wantCached(t, c, 1, 36, 61)
	var l raft.Log
	if c.get(1, 60, &l); l.Term != 2 {
		t.Fatal("the replaced record is still there")
	}
	wantCached(t, c, 2, 1, 20) // another shard is not touched
	c.dropTo(1, 1000)
	c.dropFrom(2, 0)
	if c.size() != 0 || c.oldest != nil || c.newest != nil || len(c.shards) != 0 {
		t.Fatalf("%d bytes left in an empty cache", c.size())
	}
}

// TestCacheBound checks that a full cache drops the oldest chunk, of whichever shard.
func TestCacheBound(t *testing.T) {
	one := cost(command(1, 1))
	c := newCache(20 * one)
	c.add(1, commands(1, 9, 1))
	c.add(2, commands(1, 9, 1))
	wantCached(t, c, 1, 1, 9)
	c.add(2, commands(10, 12, 1))
	wantCached(t, c, 1, 1, 0)
	wantCached(t, c, 2, 1, 12)
	c.add(3, []*raft.Log{{Index: 1, Data: make([]byte, 30*one)}}) // larger than the bound
	wantCached(t, c, 3, 1, 0)
	if c.size() > c.limit {
		t.Fatalf("%d bytes of %d", c.size(), c.limit)
	}
	off := newCache(-1)
	off.add(1, commands(1, 3, 1))
	wantCached(t, off, 1, 1, 0)
}

// cacheModel is a cache with the logs that its records may come from.
type cacheModel struct {
	rng   *rand.Rand
	cache *cache
	log   [3]map[uint64]*raft.Log // by shard and index
	last  [3]uint64
}

// TestCacheAgainstModel changes a cache at random. It must never have a record that the
// log does not have, must count its bytes correctly, and must stay within its bound.
func TestCacheAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := cacheModel{
			rng: rng, cache: newCache(1 + rng.Int64N(20_000)),
			log: [3]map[uint64]*raft.Log{{}, {}, {}},
		}
		for range 300 {
			m.step()
			m.check(t, seed)
		}
	}
}

// step drops the head or the tail of a shard, or appends to it.
func (m *cacheModel) step() {
	s := m.rng.IntN(3)
	switch m.rng.IntN(5) {
	case 0:
		at := m.rng.Uint64N(m.last[s] + 2)
		m.cache.dropTo(uint32(s), at)
		m.deleteIf(s, func(i uint64) bool { return i <= at })
	case 1:
		at := m.rng.Uint64N(m.last[s] + 2)
		m.cache.dropFrom(uint32(s), at)
		m.deleteIf(s, func(i uint64) bool { return i >= at })
	default:
		from := m.last[s] + 1 + m.rng.Uint64N(2)*m.rng.Uint64N(5) - min(m.last[s], m.rng.Uint64N(2)*m.rng.Uint64N(9))
		logs := commands(from, from+m.rng.Uint64N(8), m.rng.Uint64())
		if len(logs) > 4 && m.rng.IntN(4) == 0 {
			logs = append(logs[:2], logs[3:]...) // a gap
		}
		m.deleteIf(s, func(i uint64) bool { return i >= from })
		m.cache.add(uint32(s), logs)
		for _, l := range logs {
			m.log[s][l.Index] = l
			m.last[s] = l.Index
		}
	}
}

func (m *cacheModel) deleteIf(s int, gone func(index uint64) bool) {
	for i := range m.log[s] {
		if gone(i) {
			delete(m.log[s], i)
		}
	}
}

func (m *cacheModel) check(t *testing.T, seed uint64) {
	t.Helper()
	var bytes int64
	for s := range 3 {
		for _, i := range cached(m.cache, uint32(s), 0, m.last[s]+20) {
			var l raft.Log
			m.cache.get(uint32(s), i, &l)
			if m.log[s][i] == nil || l.Term != m.log[s][i].Term {
				t.Fatalf("seed %d: shard %d: the cache has record %d, but the log does not", seed, s, i)
			}
			bytes += cost(&l)
		}
	}
	if bytes != m.cache.size() || bytes > m.cache.limit {
		t.Fatalf("seed %d: %d bytes, counted %d, bound %d", seed, bytes, m.cache.size(), m.cache.limit)
	}
}

// TestCacheServes checks that GetLog reads fresh records from memory, and the counts.
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
