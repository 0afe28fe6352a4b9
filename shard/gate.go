package shard

import (
	"sync"
	"sync/atomic"
)

// gate keeps the applied index, and runs the functions that wait for it to rise.
type gate struct {
	index atomic.Uint64

	mu      sync.Mutex
	parked  []parked // guarded by mu
	running bool     // guarded by mu; advance runs waiting functions, and none may overtake them
	err     error    // guarded by mu; set once, by shut
}

type parked struct {
	index uint64
	run   func(error)
}

// when calls run once the applied index is at least index: at once if it is already, or
// with an error if fail or shut comes first. Functions that wait for the same index, or
// for rising ones, run in the order in which they came. run must not block.
func (g *gate) when(index uint64, run func(error)) {
	g.mu.Lock()
	err := g.err
	if err == nil && (g.running || g.index.Load() < index) {
		g.parked = append(g.parked, parked{index, run})
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	run(err)
}

// advance raises the index and runs the functions that waited for it, including those
// that come meanwhile. They run without the mutex, so that they may call when.
func (g *gate) advance(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.index.Store(index)
	g.running = true
	for {
		due := g.dueLocked()
		if len(due) == 0 {
			break
		}
		g.mu.Unlock()
		for _, p := range due {
			p.run(nil)
		}
		g.mu.Lock()
	}
	g.running = false
}

func (g *gate) dueLocked() (due []parked) {
	index := g.index.Load()
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
	return due
}

// fail runs all waiting functions with err.
func (g *gate) fail(err error) {
	g.mu.Lock()
	due := g.parked
	g.parked = nil
	g.mu.Unlock()
	for _, p := range due {
		p.run(err)
	}
}

// shut is fail, for functions that come later as well.
func (g *gate) shut(err error) {
	g.mu.Lock()
	g.err = err
	g.mu.Unlock()
	g.fail(err)
}
