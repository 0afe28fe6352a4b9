package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// cache keeps the newest records of all shards in memory, within one bound in bytes,
// so that replication and apply need not read fresh records from disk.
//
// Records that are added together form a chunk, a run of consecutive indexes. All
// chunks are in one list, oldest first. In addition, each shard has a slice of its own
// chunks, in order of index. While the cache is over its bound, it drops the oldest
// chunk of all. Because a shard only ever appends, that chunk is also the lowest of
// its shard.
//
//	by age:   [shard 1: 7–9] → [shard 2: 4–4] → [shard 1: 10–12]
//	shard 1:  [7–9] [10–12]       7–9 is dropped first
//	shard 2:  [4–4]
//
// A chunk copies the raft.Log structs but shares their bytes, which never change.
type cache struct {
	limit int64

	mu     sync.RWMutex
	bytes  int64               // guarded by mu
	oldest *chunk              // guarded by mu, as are all fields of all chunks
	newest *chunk              // guarded by mu
	shards map[uint32][]*chunk // guarded by mu; indexes rise from chunk to chunk
}

type chunk struct {
	shard      uint32
	logs       []raft.Log // never empty while the chunk is in the cache
	bytes      int64
	prev, next *chunk // by age
}

// recordOverhead is the size of a cached record's struct, in bytes; its data comes on
// top.
const recordOverhead = 112

func newCache(limit int64) *cache {
	return &cache{limit: limit, shards: make(map[uint32][]*chunk)}
}

func cost(l *raft.Log) int64 { return recordOverhead + int64(len(l.Data)+len(l.Extensions)) }

func (c *chunk) first() uint64 { return c.logs[0].Index }
func (c *chunk) last() uint64  { return c.logs[len(c.logs)-1].Index }

// get copies the record at index into l and returns true, or returns false when the
// cache does not have it.
func (c *cache) get(shard uint32, index uint64, l *raft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	chunks := c.shards[shard]
	lo, hi := 0, len(chunks)
	for lo < hi { // the first chunk that ends at or after index
		if mid := int(uint(lo+hi) >> 1); chunks[mid].last() < index {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(chunks) || index < chunks[lo].first() {
		return false
	}
	*l = chunks[lo].logs[index-chunks[lo].first()]
	return true
}

// add stores logs, whose indexes rise. The shard's records at or above the first of
// these indexes are dropped: after 1–9, add(5–6) leaves 1–6. A run of records that
// exceeds the bound on its own is not kept.
func (c *cache) add(shard uint32, logs []*raft.Log) {
	if c.limit <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropFromLocked(shard, logs[0].Index)
	for len(logs) > 0 {
		n := 1
		for n < len(logs) && logs[n].Index == logs[n-1].Index+1 {
			n++
		}
		k := &chunk{shard: shard, logs: make([]raft.Log, n)}
		for i, l := range logs[:n] {
			k.logs[i] = *l
			k.bytes += cost(l)
		}
		logs = logs[n:]
		c.shards[shard] = append(c.shards[shard], k)
		c.bytes += k.bytes
		if k.prev = c.newest; k.prev != nil {
			k.prev.next = k
		} else {
			c.oldest = k
		}
		c.newest = k
	}
	for c.bytes > c.limit {
		c.removeLocked(c.oldest, 0)
	}
}

// removeLocked removes k, the first or the last chunk of its shard, at position i.
func (c *cache) removeLocked(k *chunk, i int) {
	c.bytes -= k.bytes
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		c.oldest = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		c.newest = k.prev
	}
	k.prev, k.next = nil, nil
	s := c.shards[k.shard]
	switch {
	case len(s) == 1:
		delete(c.shards, k.shard)
	case i == 0:
		s[0] = nil
		c.shards[k.shard] = s[1:]
	default:
		s[len(s)-1] = nil
		c.shards[k.shard] = s[:len(s)-1]
	}
}

// dropTo drops the shard's records up to and including index.
func (c *cache) dropTo(shard uint32, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.shards[shard]) > 0 {
		k := c.shards[shard][0]
		if k.first() > index {
			return
		}
		if k.last() <= index {
			c.removeLocked(k, 0)
			continue
		}
		n := index - k.first() + 1
		c.cutLocked(k, k.logs[:n])
		k.logs = k.logs[n:]
		return
	}
}

// dropFrom drops the shard's records at index and above.
func (c *cache) dropFrom(shard uint32, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropFromLocked(shard, index)
}

func (c *cache) dropFromLocked(shard uint32, index uint64) {
	for len(c.shards[shard]) > 0 {
		i := len(c.shards[shard]) - 1
		k := c.shards[shard][i]
		if k.last() < index {
			return
		}
		if k.first() >= index {
			c.removeLocked(k, i)
			continue
		}
		n := index - k.first()
		c.cutLocked(k, k.logs[n:])
		k.logs = k.logs[:n]
		return
	}
}

// cutLocked subtracts the size of gone, records that leave k, and clears them so that
// their bytes can be collected.
func (c *cache) cutLocked(k *chunk, gone []raft.Log) {
	for i := range gone {
		k.bytes -= cost(&gone[i])
		c.bytes -= cost(&gone[i])
	}
	clear(gone)
}

func (c *cache) size() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.bytes
}
