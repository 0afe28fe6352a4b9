package fault

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// powerCut returns a fault that cuts the power of nodes: it kills them, and their disks
// lose everything that was not synced.
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

// cutPower cuts the power of nodes, and kills those that do not answer. It returns the
// nodes that it brought down, and the number of them whose power was cut.
func (w *World) cutPower(nodes []int) (fell []int, cut int) {
	var cuts atomic.Int64
	fell = w.fell(nodes, func(i int) {
		w.allow(i, killedBySignal)
		defer w.allow(i)
		_, _ = w.debug(i, "FAULT", "CUT") // no reply comes, because the node dies
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
