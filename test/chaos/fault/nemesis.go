package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/test/chaos/measure"
)

// The promises of availability (L1), the bound of healing (L3), and the pace of rounds.
const (
	ResumeWithin  = 4 * time.Second        // until writes to the shards of a lost node go on
	StallWithin   = 500 * time.Millisecond // for which writes to other shards may stall
	PlannedWithin = 300 * time.Millisecond // for which writes may stall when a node is asked to stop
	healthyWithin = 60 * time.Second
	// hopelessAfter is how much longer a run waits before it gives up.
	hopelessAfter = 4 * time.Minute
	// lullMin and lullMax bound the time between two rounds.
	lullMin = 100 * time.Millisecond
	lullMax = 1200 * time.Millisecond
	// lagLimit is how late the harness may run during a measurement; otherwise the
	// measurement is dropped.
	lagLimit = 100 * time.Millisecond
	// combineShare is the share of rounds with more than one fault, if their first fault
	// may be combined.
	combineShare = 0.55
)

// Kinds of samples, one for each promise.
const (
	sampleResume  = "resume"
	sampleStall   = "stall"
	samplePlanned = "planned"
)

// Event is a fault in the report's timeline.
type Event struct {
	Round   int           `json:"round"`
	Name    string        `json:"name"`                 // the name of the card
	What    string        `json:"what"`                 // a description with the nodes
	From    time.Duration `json:"from_ns"`              // when it was injected
	To      time.Duration `json:"to_ns"`                // when it was healed
	Healthy time.Duration `json:"healthy_ns,omitempty"` // when the cluster was healthy again
	// Resumed and Stalled are measured for a fault that took one node away and was the
	// only one of its round. Resumed is the time until the shards of this node served
	// again. Stalled is the longest time for which another shard did not serve.
	Resumed time.Duration `json:"resumed_ns,omitempty"`
	Stalled time.Duration `json:"stalled_ns,omitempty"`
}

// Nemesis injects rounds of faults. Only Events may be called from other goroutines.
type Nemesis struct {
	w     *World
	rng   *rand.Rand
	deck  *deck
	round int

	mu     sync.Mutex
	events []Event // guarded by mu
}

// sample records a measured time.
func (w *World) sample(kind string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[kind] = append(w.samples[kind], d)
}

// Promise is a promise of availability, with the measured times.
type Promise struct {
	Name    string        `json:"name"`
	Within  time.Duration `json:"within_ns"`
	Samples int           `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
	Kept    bool          `json:"kept"`
}

// enoughSamples is the number of samples from which on a promise is judged by the 99th
// percentile alone. With fewer samples, it is also kept if none takes longer than twice
// the promised time.
const enoughSamples = 50

// Promises returns the promises of availability and whether they were kept.
func (w *World) Promises() []Promise {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []Promise{
		{Name: "time until writes to the shards of a lost node go on", Within: ResumeWithin},
		{Name: "stall of writes to other shards", Within: StallWithin},
		{Name: "stall of writes when a node is asked to stop or a leadership is handed over", Within: PlannedWithin},
	}
	for i, kind := range []string{sampleResume, sampleStall, samplePlanned} {
		p, all := &out[i], slices.Clone(w.samples[kind])
		slices.Sort(all)
		p.Samples, p.Kept = len(all), true
		if len(all) == 0 {
			continue
		}
		p.P50, p.P99, p.Max = all[len(all)/2], all[(len(all)*99+99)/100-1], all[len(all)-1]
		p.Kept = p.P99 <= p.Within || len(all) < enoughSamples && p.Max <= 2*p.Within
	}
	return out
}

// New returns a nemesis whose choices follow from seed. If only is not empty, it deals no
// other kinds of faults than these. It returns an error for an unknown name, and when none
// of them is possible in this world.
func New(w *World, seed uint64, only []string) (*Nemesis, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, name := range only {
		if !slices.ContainsFunc(cards, func(c card) bool { return c.name == name }) {
			return nil, fmt.Errorf("unknown fault %q: the faults are %s", name, strings.Join(Names(), ", "))
		}
	}
	d := newDeck(rng, w, only)
	if len(d.all) == 0 {
		return nil, fmt.Errorf("none of the faults %q is possible here", only)
	}
	return &Nemesis{w: w, rng: rng, deck: d}, nil
}

// Names returns the names of all kinds of faults.
func Names() (out []string) {
	for i := range cards {
		out = append(out, cards[i].name)
	}
	return out
}

// Events returns the faults of all rounds that have ended.
func (n *Nemesis) Events() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// Run plays one round after another until ctx ends. When it returns nil, all faults are
// healed and the cluster is healthy.
func (n *Nemesis) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := n.play(); err != nil {
			return err
		}
		pause(ctx, lullMin+time.Duration(n.rng.Int64N(int64(lullMax-lullMin))))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// hand draws the faults of a round: one, or with combineShare up to three that go together.
func (n *Nemesis) hand() []*card {
	c := n.deck.deal(func(*card) bool { return true })
	cs := []*card{c}
	if c.alone || n.rng.Float64() >= combineShare {
		return cs
	}
	network, member := c.network, c.member
	for range 1 + n.rng.IntN(2) {
		c := n.deck.deal(func(c *card) bool { return !c.alone && !(network && c.network) && !(member && c.member) })
		if c == nil {
			break
		}
		network, member = network || c.network, member || c.member
		cs = append(cs, c)
	}
	return cs
}

// play plays one round: it injects all faults side by side, heals them, and waits until the
// cluster is healthy.
func (n *Nemesis) play() error {
	w := n.w
	cs := n.hand()
	n.round++
	measured := len(cs) == 1 && cs[0].single
	led := w.led()
	w.Lag()
	w.Shards.Watch()
	var wg sync.WaitGroup
	errs := make([]error, len(cs))
	events := make([]Event, len(cs))
	for i, c := range cs {
		rng := rand.New(rand.NewPCG(n.rng.Uint64(), uint64(i)))
		wg.Go(func() { events[i], errs[i] = n.fault(c, rng, measured, led) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	healed := w.Problems.Now()
	if err := w.Cluster.AwaitHealthy(healthyWithin); err != nil {
		w.Problems.Add("L3", "round %d: the cluster is not healthy %v after %s: %v", n.round, healthyWithin, texts(events), err)
		if err := w.Cluster.AwaitHealthy(hopelessAfter); err != nil {
			return fmt.Errorf("after %s: %w", texts(events), err)
		}
	}
	healthy := w.Problems.Now()
	for i := range events {
		events[i].Healthy = healthy
	}
	n.mu.Lock()
	n.events = append(n.events, events...)
	n.mu.Unlock()
	w.Logf("round %d: %s; healthy after %v", n.round, texts(events), (healthy - healed).Round(time.Millisecond))
	return nil
}

// fault injects one fault, holds it and heals it. led are the leaders before it, by shard.
func (n *Nemesis) fault(c *card, rng *rand.Rand, measured bool, led map[uint32]int) (Event, error) {
	w := n.w
	if !measured {
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second)))) // so that the faults of a round overlap differently
	}
	ev := Event{Round: n.round, Name: c.name, From: w.Problems.Now()}
	acked := w.Acked()
	hurt, err := c.inject(w, rng)
	if err != nil {
		return ev, fmt.Errorf("%s: %w", c.name, err)
	}
	w.Count("faults", 1)
	ev.What = hurt.what
	// Nothing is promised for two lost nodes of five, because they may hold two of the
	// three replicas of a shard that another node leads.
	if measured && len(hurt.nodes) == 1 {
		n.measure(&ev, hurt, led, acked)
	} else {
		time.Sleep(hurt.hold)
	}
	err = hurt.heal()
	ev.To = w.Problems.Now()
	if err != nil {
		return ev, fmt.Errorf("heal %s: %w", hurt.what, err)
	}
	return ev, nil
}

// measure holds a fault, longer than planned while a shard does not serve yet, and samples
// how long the shards did not serve. It also checks that enough XADDs were acknowledged
// (L2); acked is their number before the fault.
func (n *Nemesis) measure(ev *Event, hurt *injury, led map[uint32]int, acked int) {
	w := n.w
	time.Sleep(hurt.hold)
	hit := func(id uint32) bool { return slices.Contains(hurt.nodes, led[id]) }
	// A fault of less than a second ends before another leader would be elected.
	for deadline := time.Now().Add(2*ResumeWithin - hurt.hold); hurt.hold > time.Second && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if !slices.ContainsFunc(keys(led), func(id uint32) bool { return id != 0 && !w.Shards.Served(id).Resumed }) {
			break
		}
	}
	served := map[uint32]measure.Served{}
	for id := range led {
		if id != 0 {
			served[id] = w.Shards.Served(id)
		}
	}
	if !w.measurable() {
		return
	}
	if text := stuck(w.Acked()-acked, w.Problems.Now()-ev.From); text != "" {
		w.Problems.Add("L2", "%s: %s", hurt.what, text)
	}
	for id, s := range served {
		if hit(id) {
			if s.Resumed || hurt.hold > ResumeWithin {
				w.sample(sampleResume, s.After)
				ev.Resumed = max(ev.Resumed, s.After)
			}
		} else {
			w.sample(sampleStall, s.Stall)
			ev.Stalled = max(ev.Stalled, s.Stall)
		}
	}
}

// measurable reports whether a measurement counts: the harness has run on time since the
// last call of Lag, so that the measured times do not include its own delay.
func (w *World) measurable() bool { return w.onTime(lagLimit) }

// onTime reports whether the harness ran late by at most limit since the last call of Lag.
func (w *World) onTime(limit time.Duration) bool {
	if w.Lag() <= limit {
		return true
	}
	w.Count("not measured: the harness itself ran late", 1)
	return false
}

func keys(m map[uint32]int) []uint32 {
	var out []uint32
	for k := range m {
		out = append(out, k)
	}
	return out
}

// texts describes the faults of a round.
func texts(events []Event) string {
	var text strings.Builder
	for i, e := range events {
		if i > 0 {
			text.WriteString(" + ")
		}
		text.WriteString(e.What)
		if e.Resumed > 0 {
			fmt.Fprintf(&text, " (its shards served after %v)", e.Resumed.Round(time.Millisecond))
		}
	}
	return text.String()
}
