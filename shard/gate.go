package shard

import (
	"sync"
	"sync/atomic"
)

// gate knows the applied index and keeps what waits for it to rise.
type gate struct {
	index atomic.Uint64

	mu     sync.Mutex
	parked []parked // guarded by mu
	err    error    // guarded by mu; set for good by shut
}

type parked struct {
	index uint64
	run   func(error)
}

// when calls run once the applied index is at least index, at once if it is; or with
// an error when fail or shut comes first. run must not block.
func (g *gate) when(index uint64, run func(error)) {
	if g.index.Load() >= index {
		run(nil)
		return
	}
	g.mu.Lock()
	err := g.err
	if err == nil && g.index.Load() < index {
		g.parked = append(g.parked, parked{index, run})
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	run(err)
}

// advance raises the index and runs what waited for it.
func (g *gate) advance(index uint64) {
	g.mu.Lock()
	g.index.Store(index)
	var due []parked
	kept := g.parked[:0]
	for _, p := range g.parked {
		if p.index <= index {
			due = append(due, p)
		} else {
			kept = append(kept, p)
		}
	}
	clear(g.parked[len(kept):])
	g.parked = kept
	g.mu.Unlock()
	for _, p := range due {
		p.run(nil)
	}
}

// fail runs everything that waits with err.
func (g *gate) fail(err error) {
	g.mu.Lock()
	due := g.parked
	g.parked = nil
	g.mu.Unlock()
	for _, p := range due {
		p.run(err)
	}
}

// shut is fail, also for whatever comes later.
func (g *gate) shut(err error) {
	g.mu.Lock()
	g.err = err
	g.mu.Unlock()
	g.fail(err)
}
