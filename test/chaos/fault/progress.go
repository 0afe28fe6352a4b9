package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The promise about throughput while a minority of the nodes is lost (L2).
const (
	ProgressAfter = 10 * time.Second // the throughput is measured from then on
	ProgressShare = 0.5              // the least throughput, relative to the one before
	// ProgressLeast is the least number of XADDs that must be acknowledged during a fault.
	ProgressLeast = 100

	// progressWindow is the shortest fault for which ProgressLeast is checked.
	progressWindow = 5 * time.Second
	baselineFor    = 4 * time.Second // how long the throughput before is measured
	progressFor    = 5 * time.Second // how long the throughput after ProgressAfter is measured
	// progressLag is how late the harness may run while it counts XADDs for seconds.
	progressLag = 500 * time.Millisecond
)

// progress is the throughput before and after the loss of a minority.
type progress struct {
	before, after float64 // XADDs a second; after is measured from ProgressAfter on
	during        int     // XADDs acknowledged since the loss
}

// broken describes the part of the promise that was not kept; empty: all was kept.
func (p progress) broken() string {
	switch {
	case p.during < ProgressLeast:
		return fmt.Sprintf("only %d XADDs were acknowledged meanwhile, fewer than %d", p.during, ProgressLeast)
	case p.after < ProgressShare*p.before:
		return fmt.Sprintf("%.0f XADDs a second from %v on, less than half of the %.0f before", p.after, ProgressAfter, p.before)
	}
	return ""
}

// minorities are the ways to lose a minority of the nodes. The other nodes cannot tell that
// it will come back. lab marks a way that needs a lab.
var minorities = []struct {
	name string
	lab  bool
	do   func(w *World, few []int) (heal func() error)
}{
	{name: "killed", do: func(w *World, few []int) func() error {
		killed := w.kill(few)
		return func() error { return w.revive(killed) }
	}},
	{name: "paused", do: func(w *World, few []int) func() error {
		paused := w.pause(few)
		return func() error { w.proceed(paused); return nil }
	}},
	{name: "cut off", lab: true, do: func(w *World, few []int) func() error {
		for i := range w.nodes() {
			for _, n := range few {
				if !slices.Contains(few, i) {
					w.Lab.SetBoth(host(i), host(n), cut)
				}
			}
		}
		w.Count("partitions", 1)
		w.Count("partition: halves", 1)
		return func() error { w.Lab.Heal(); return nil }
	}},
}

// withoutOne takes a leader away for so long that the throughput without it can be compared
// with the throughput before.
func withoutOne(w *World, rng *rand.Rand) (*injury, error) {
	few := []int{w.leader(rng)}
	ways := slices.Clone(minorities)
	if w.Lab == nil {
		ways = ways[:2]
	}
	way := ways[rng.IntN(len(ways))]
	w.Lag()
	calm := w.acked(baselineFor)
	p := progress{before: rate(calm, baselineFor)}
	heal := way.do(w, few)
	p.during = w.acked(ProgressAfter)
	last := w.acked(progressFor)
	p.during += last
	p.after = rate(last, progressFor)
	what := fmt.Sprintf("%s %s: %.0f XADDs a second before, %.0f after %v", names(few), way.name, p.before, p.after, ProgressAfter)
	return &injury{what: what, nodes: few, heal: func() error {
		if err := heal(); err != nil {
			return err
		}
		return w.judge(p, what)
	}}, nil
}

// judge adds a violation if a progress is broken. It then measures once more with all
// nodes, and takes the lower throughput as the one before, because the machine itself may
// have become slower meanwhile.
func (w *World) judge(p progress, what string) error {
	if p.broken() != "" {
		if err := w.Cluster.AwaitHealthy(healthyWithin); err != nil {
			return nil // play waits longer and reports it
		}
		p.before = min(p.before, rate(w.acked(baselineFor), baselineFor))
	}
	if !w.onTime(progressLag) {
		return nil
	}
	w.Count("progress without a node measured", 1)
	if text := p.broken(); text != "" {
		w.Problems.Add("L2", "%s: %s", what, text)
	}
	return nil
}

// stuck describes too few acknowledged XADDs during a fault that left a majority. It
// returns "" when there were enough, or when the fault was shorter than progressWindow.
func stuck(acked int, lasted time.Duration) string {
	if lasted < progressWindow || acked >= ProgressLeast {
		return ""
	}
	return fmt.Sprintf("only %d XADDs were acknowledged in %v, fewer than %d", acked, lasted.Round(time.Millisecond), ProgressLeast)
}

// acked waits for d, and returns the number of XADDs that were acknowledged meanwhile.
func (w *World) acked(d time.Duration) int {
	before := w.Acked()
	time.Sleep(d)
	return w.Acked() - before
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
