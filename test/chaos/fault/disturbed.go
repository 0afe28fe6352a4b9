package fault

import (
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long after a fault what is seen may still be due to it.
const grace = 2 * time.Second

// Disturbed keeps when nodes did not run, or were out of the reach of clients. Its
// methods are safe for concurrent use.
type Disturbed struct {
	now    func() time.Duration
	clocks atomic.Bool

	mu    sync.Mutex
	depth map[int]int           // faults under way of each node
	until map[int]time.Duration // when the last one ended
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

// Clocks reports whether no clock was touched so far.
func (d *Disturbed) Clocks() bool { return !d.clocks.Load() }
