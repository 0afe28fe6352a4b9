package shard

import (
	"sync/atomic"
	"time"
)

// stopwatch measures time within the process. Its readings are in ns and never go back.
type stopwatch struct{ start time.Time }

func newStopwatch() stopwatch { return stopwatch{start: time.Now()} }

func (s stopwatch) now() int64 { return int64(time.Since(s.start)) }

// shardClock gives the time, in ms, that records are stamped with and that reads see. It
// is the node's clock, except that it never goes back and is never behind the clock of an
// applied record. So a read cannot see a later time than a write that is proposed after
// it.
type shardClock struct {
	node func() int64
	last atomic.Int64
}

func (c *shardClock) now() int64 { return c.observe(c.node()) }

// observe raises the clock to ms, and returns it.
func (c *shardClock) observe(ms int64) int64 {
	for {
		last := c.last.Load()
		if ms <= last {
			return last
		}
		if c.last.CompareAndSwap(last, ms) {
			return ms
		}
	}
}
