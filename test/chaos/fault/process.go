package fault

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// between draws a time, small ones as likely as great ones: the logarithm is even.
func between(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	x := math.Log(float64(lo)) + rng.Float64()*(math.Log(float64(hi))-math.Log(float64(lo)))
	return time.Duration(math.Exp(x)).Round(time.Millisecond)
}

// killed makes a fault of killing nodes with -9 and starting them again.
func killed(choose func(w *World, rng *rand.Rand) []int) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		nodes := w.kill(choose(w, rng))
		return &injury{
			what: "kill -9 " + names(nodes), nodes: nodes, hold: between(rng, 50*time.Millisecond, 3*time.Second),
			heal: func() error { return w.revive(nodes) },
		}, nil
	}
}

// paused makes a fault of stopping nodes for a while with SIGSTOP.
func paused(choose func(w *World, rng *rand.Rand) []int, lo, hi time.Duration) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		hold := between(rng, lo, hi)
		nodes := w.pause(choose(w, rng))
		return &injury{
			what: fmt.Sprintf("pause %s for %v", names(nodes), hold), nodes: nodes, hold: hold,
			heal: func() error { w.proceed(nodes); return nil },
		}, nil
	}
}

func oneLeader(w *World, rng *rand.Rand) []int   { return []int{w.leader(rng)} }
func oneFollower(w *World, rng *rand.Rand) []int { return []int{w.follower(rng)} }
func anyOne(w *World, rng *rand.Rand) []int      { return w.some(rng, 1) }
func majority(w *World, rng *rand.Rand) []int    { return w.some(rng, w.majority()) }
func everyone(w *World, rng *rand.Rand) []int    { return w.some(rng, w.nodes()) }

// rolling stops the nodes in order with SIGTERM, one after another, and starts each
// again. Each has to end with 0, and its shards to be led elsewhere before it does.
func rolling(w *World, rng *rand.Rand) (*injury, error) {
	for _, i := range w.some(rng, w.nodes()) {
		n := w.Cluster.Nodes[i]
		w.Lag()
		w.Shards.Watch()
		w.Disturbed.begin(i)
		began := w.Problems.Now()
		code := w.Cluster.Terminate(n)
		took := w.Problems.Now() - began
		w.Count("restarts", 1)
		if code != 0 {
			w.Problems.Add("L0", "node %d was asked to stop and ended with %d after %v\n%s", i+1, code, took, w.Cluster.LogTail(n, 12))
		}
		served := map[uint32]time.Duration{}
		for id := range w.led() {
			if id != 0 {
				served[id] = w.Shards.Served(id).Stall
			}
		}
		if w.measurable() {
			for _, stall := range served {
				w.sample(samplePlanned, stall)
			}
		}
		if err := w.revive([]int{i}); err != nil {
			return nil, err
		}
		if err := w.Cluster.AwaitHealthy(healthyWithin); err != nil {
			return nil, err
		}
	}
	return &injury{what: "rolling restart", heal: func() error { return nil }}, nil
}

// names shows nodes as people count them.
func names(nodes []int) string {
	text := "node"
	if len(nodes) != 1 {
		text += "s"
	}
	for i, n := range nodes {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %d", n+1)
	}
	return text
}
