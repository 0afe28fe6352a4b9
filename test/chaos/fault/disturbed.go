package fault

import (
	"sync"
	"time"
)

// grace is how long after a fault what is seen may still be due to it.
const grace = 2 * time.Second

// Disturbed keeps when nodes did not run, or were out of the reach of clients. Its
// methods are safe for concurrent use.
type Disturbed struct {
	now func() time.Duration

	mu     sync.Mutex
	depth  map[int]int           // faults under way of each node
	until  map[int]time.Duration // when the last one ended
	clocks int                   // clocks that are set off now
	ahead  time.Duration         // until when idle times by a shard's clock may be others
}

// NewDisturbed returns a record of nothing. now is the run's clock.
func NewDisturbed(now func() time.Duration) *Disturbed {
	return &Disturbed{now: now, depth: map[int]int{}, until: map[int]time.Duration{}}
}

func (d *Disturbed) begin(nodes ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range nodes {
		d.depth[n]++
	}
}

func (d *Disturbed) end(nodes ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range nodes {
		d.depth[n]--
		d.until[n] = d.now() + grace
	}
}

// Calm reports whether node ran, and clients could reach it, from then until now.
func (d *Disturbed) Calm(node int, from, _ time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.depth[node] == 0 && d.until[node] < from
}

func (d *Disturbed) beginClock() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clocks++
}

// clockRest is how long after a clock was behind claims may come early: what was handed
// out meanwhile looks older by as much. It is more than the min-idle of claims.
const clockRest = 5 * time.Second

// endClock says that a clock which was off by offset is right again. Where it was
// ahead, the shards' clocks stand until the others have come as far.
func (d *Disturbed) endClock(offset time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clocks--
	d.ahead = max(d.ahead, d.now()+max(offset, clockRest)+grace)
}

// Clocks reports whether the shards' clocks are the run's.
func (d *Disturbed) Clocks() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clocks == 0 && d.ahead < d.now()
}
