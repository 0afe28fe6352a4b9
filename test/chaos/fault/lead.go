package fault

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	transferEvery = 250 * time.Millisecond // the pause in a storm
	transferTimes = 5                      // number of measured transfers
	transferRest  = 600 * time.Millisecond // the time in which a stall is measured
)

// transfer asks a random node to hand the leadership of a random shard over to a random
// node. It returns the shard, or 0 when the transfer was refused: the target may have no
// replica, or one that is behind.
func (w *World) transfer(rng *rand.Rand) uint32 {
	led := w.led()
	if len(led) < 2 {
		return 0
	}
	id := uint32(1 + rng.IntN(len(led)-1))
	to := w.Cluster.Nodes[rng.IntN(w.nodes())].ID()
	if _, err := w.debug(rng.IntN(w.nodes()), "TRANSFER", strconv.FormatUint(uint64(id), 10), to); err != nil {
		return 0
	}
	w.Count("leadership transfers", 1)
	return id
}

// transfers hands leaderships over, one at a time, and measures for how long the shard's
// writes stall.
func transfers(w *World, rng *rand.Rand) (*injury, error) {
	done := 0
	for range transferTimes {
		w.Lag()
		w.Shards.Watch()
		id := w.transfer(rng)
		if id == 0 {
			continue
		}
		done++
		time.Sleep(transferRest)
		if stall := w.Shards.Served(id).Stall; w.measurable() {
			w.sample(samplePlanned, stall)
		}
	}
	return &injury{what: fmt.Sprintf("%d leadership transfers", done), heal: func() error { return nil }}, nil
}

// transferStorm hands leaderships over faster than they settle.
func transferStorm(w *World, rng *rand.Rand) (*injury, error) {
	done := 0
	for end := time.Now().Add(between(rng, 2*time.Second, 8*time.Second)); time.Now().Before(end); time.Sleep(transferEvery) {
		if w.transfer(rng) != 0 {
			done++
		}
	}
	w.Count("transfer storms", 1)
	return &injury{what: fmt.Sprintf("a storm of %d leadership transfers", done), heal: func() error { return nil }}, nil
}

// overload starts clients that ask for more than the nodes can send.
func overload(w *World, rng *rand.Rand) (*injury, error) {
	d := between(rng, 2*time.Second, 8*time.Second)
	w.Overload(rng, d)
	w.Count("overloads", 1)
	return &injury{what: fmt.Sprintf("overload for %v", d), heal: func() error { return nil }}, nil
}
