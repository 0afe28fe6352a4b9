package fault

import (
	"sync"
	"time"
)

// grace is the time after a fault in which its effects may still be seen.
const grace = 2 * time.Second

// Disturbed records when nodes did not run or clients could not reach them, and when clocks
// were wrong. Its methods are safe for concurrent use.
type Disturbed struct {
	now func() time.Duration

	mu     sync.Mutex            // guards the fields below
	depth  map[int]int           // by node: the number of its present faults
	until  map[int]time.Duration // by node: the end of its last fault, and grace
	clocks int                   // number of clocks that are wrong now
	ahead  time.Duration         // until then, idle times by a shard's clock may be wrong
}

// NewDisturbed returns an empty record. now is the run's clock.
func NewDisturbed(now func() time.Duration) *Disturbed {
	return &Disturbed{now: now, depth: map[int]int{}, until: map[int]time.Duration{}}
}

// begin records that a fault of nodes begins.
func (d *Disturbed) begin(nodes ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range nodes {
		d.depth[n]++
	}
}

// end records that a fault of nodes, which begin recorded, ends.
func (d *Disturbed) end(nodes ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range nodes {
		d.depth[n]--
		d.until[n] = d.now() + grace
	}
}

// Calm reports whether node ran and clients could reach it from then until now.
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

// clockRest is the time after a clock was behind in which claims may come early, because
// the entries that were handed out meanwhile look older than they are. It is longer than
// the min-idle time of claims.
const clockRest = 5 * time.Second

// endClock records that a clock which was wrong by offset is right again. If the clock was
// 10 s ahead, shards' clocks may stand still for the next 10 s, because they never go back.
func (d *Disturbed) endClock(offset time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clocks--
	d.ahead = max(d.ahead, d.now()+max(offset, clockRest)+grace)
}

// Clocks reports whether the shards' clocks run like the run's clock.
func (d *Disturbed) Clocks() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clocks == 0 && d.ahead < d.now()
}
