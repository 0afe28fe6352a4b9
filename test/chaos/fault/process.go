package fault

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// between draws a time from lo to hi whose logarithm is evenly distributed: from 100 ms to
// 10 s, half of the times are below 1 s.
func between(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	x := math.Log(float64(lo)) + rng.Float64()*(math.Log(float64(hi))-math.Log(float64(lo)))
	return time.Duration(math.Exp(x)).Round(time.Millisecond)
}

// killed returns a fault that kills nodes with SIGKILL and starts them again.
func killed(choose func(w *World, rng *rand.Rand) []int) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		nodes := w.kill(choose(w, rng))
		return &injury{
			what: "kill -9 " + names(nodes), nodes: nodes, hold: between(rng, 50*time.Millisecond, 3*time.Second),
			heal: func() error { return w.revive(nodes) },
		}, nil
	}
}

// paused returns a fault that stops nodes with SIGSTOP for a while.
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

// rolling restarts all nodes, one after another, with SIGTERM. Each has to exit with code
// 0. It measures the stalls of writes, which are short only if the node hands over its
// leaderships before it stops.
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
			w.Problems.Add("L0", "node %d was asked to stop and exited with code %d after %v\n%s", i+1, code, took, w.Cluster.LogTail(n, 12))
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

// names prints nodes, counted from 1: "node 2", "nodes 1, 3".
func names(nodes []int) string {
	var text strings.Builder
	text.WriteString("node")
	if len(nodes) != 1 {
		text.WriteString("s")
	}
	for i, n := range nodes {
		if i > 0 {
			text.WriteString(",")
		}
		fmt.Fprintf(&text, " %d", n+1)
	}
	return text.String()
}
