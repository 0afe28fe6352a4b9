package fault

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// clockPatience bounds the attempts to set a clock right. A node that was killed meanwhile
// has a right clock anyway, because it starts with one.
const clockPatience = 10 * time.Second

// setClock sets the offset that is added to a node's clock.
func (w *World) setClock(node int, offset time.Duration) error {
	_, err := w.debug(node, "CLOCK-OFFSET", strconv.FormatInt(offset.Milliseconds(), 10))
	return err
}

// rightClock sets a node's offset to zero, as soon as the node can be reached.
func (w *World) rightClock(node int) {
	for deadline := time.Now().Add(clockPatience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if w.setClock(node, 0) == nil {
			return
		}
	}
}

// offsets are the distances of a clock jump.
var offsets = []time.Duration{10 * time.Second, -10 * time.Second, 3 * time.Second, -3 * time.Second}

// offset draws the distance of a clock jump.
func (w *World) offset(rng *rand.Rand) time.Duration {
	if w.HourJumps.Load() && rng.IntN(2) == 0 {
		return []time.Duration{time.Hour, -time.Hour}[rng.IntN(2)]
	}
	return offsets[rng.IntN(len(offsets))]
}

// clockJump makes the clock of a leader wrong for a while.
func clockJump(w *World, rng *rand.Rand) (*injury, error) {
	n, by := w.leader(rng), w.offset(rng)
	w.Disturbed.beginClock()
	if err := w.setClock(n, by); err != nil {
		w.Disturbed.endClock(by)
		return &injury{what: "a clock that could not be reached", heal: func() error { return nil }}, nil
	}
	w.Count("clock jumps", 1)
	return &injury{what: fmt.Sprintf("the clock of node %d jumps by %v", n+1, by), hold: between(rng, time.Second, 6*time.Second), heal: func() error {
		w.rightClock(n)
		w.Disturbed.endClock(by)
		return nil
	}}, nil
}

// A strobing clock changes this often between right and wrong.
const (
	strobeEvery = 200 * time.Millisecond
	strobeTimes = 20
)

// clockStrobe makes the clock of a node wrong and right in turn.
func clockStrobe(w *World, rng *rand.Rand) (*injury, error) {
	n, by := rng.IntN(w.nodes()), w.offset(rng)
	w.Disturbed.beginClock()
	for i := range strobeTimes {
		_ = w.setClock(n, by*time.Duration(1-i%2)) // a node that cannot be reached keeps its clock
		time.Sleep(strobeEvery)
	}
	w.Count("clock strobes", 1)
	return &injury{what: fmt.Sprintf("the clock of node %d strobes by %v", n+1, by), heal: func() error {
		w.rightClock(n)
		w.Disturbed.endClock(by)
		return nil
	}}, nil
}
