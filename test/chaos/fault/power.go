package fault

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// powerCut makes a fault of cutting the power of nodes: a kill that takes with it what
// their disks had not synced.
func powerCut(choose func(w *World, rng *rand.Rand) []int) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		nodes, cut := w.cutPower(choose(w, rng))
		w.Count("power cuts", cut)
		if cut == w.nodes() {
			w.Count("power cuts of the whole cluster", 1)
		}
		return &injury{
			what: "power cut: " + names(nodes), nodes: nodes, hold: between(rng, 50*time.Millisecond, 3*time.Second),
			heal: func() error { return w.revive(nodes) },
		}, nil
	}
}

// cutPower cuts the power of nodes. One that cannot be told to is killed; cut counts the
// others.
func (w *World) cutPower(nodes []int) (fell []int, cut int) {
	var cuts atomic.Int64
	fell = w.fell(nodes, func(i int) {
		w.allow(i, killedBySignal)
		defer w.allow(i)
		_, _ = w.debug(i, "FAULT", "CUT") // the answer is that it dies
		for deadline := time.Now().Add(commandTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if _, ended := w.ended(i); ended {
				cuts.Add(1)
				break
			}
		}
		w.Cluster.Kill(w.Cluster.Nodes[i])
	})
	return fell, int(cuts.Load())
}
