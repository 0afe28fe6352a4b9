package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// What is promised of throughput while a minority of the nodes is gone (L2).
const (
	ProgressAfter = 10 * time.Second // it is judged from then on
	ProgressShare = 0.5              // of what it was before
	// ProgressLeast is how many XADDs are acknowledged in any such time.
	ProgressLeast = 100

	// progressWindow is how long a fault must last for ProgressLeast to be asked of it.
	progressWindow = 5 * time.Second
	baselineFor    = 4 * time.Second
	progressFor    = 5 * time.Second
	// progressLag is how late the harness may run while it counts for seconds.
	progressLag = 500 * time.Millisecond
)

// progress is what was acknowledged before a minority was gone, and while it was.
type progress struct {
	before, after float64 // XADDs a second
	during        int     // XADDs, from the first moment on
}

// broken says what of the promise was not kept; empty: all was.
func (p progress) broken() string {
	switch {
	case p.during < ProgressLeast:
		return fmt.Sprintf("%d XADDs were acknowledged meanwhile, fewer than %d", p.during, ProgressLeast)
	case p.after < ProgressShare*p.before:
		return fmt.Sprintf("%.0f XADDs a second from %v on, less than half of the %.0f before", p.after, ProgressAfter, p.before)
	}
	return ""
}

// minorities are the ways in which a minority of the nodes is gone for good, as far as
// the others can tell.
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

// withoutOne takes one node away, a leader, for so long that what the others do without
// it can be compared with what all did before.
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

// judge takes a progress as broken only if it is so by what all nodes do after it as
// well: the machine may have been given other work meanwhile.
func (w *World) judge(p progress, what string) error {
	if p.broken() != "" {
		if err := w.Cluster.AwaitHealthy(healthyWithin); err != nil {
			return nil // the round waits longer, and says so
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

// stuck says that too little was acknowledged while one fault that left a majority lasted
// for so long; empty: it was enough, or the fault was short.
func stuck(acked int, lasted time.Duration) string {
	if lasted < progressWindow || acked >= ProgressLeast {
		return ""
	}
	return fmt.Sprintf("%d XADDs were acknowledged in %v, fewer than %d", acked, lasted.Round(time.Millisecond), ProgressLeast)
}

// acked returns how many XADDs are acknowledged within d from now.
func (w *World) acked(d time.Duration) int {
	before := w.Acked()
	time.Sleep(d)
	return w.Acked() - before
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
