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

// What is promised of availability (L1), and how long healing may take (L3).
const (
	ResumeWithin  = 4 * time.Second        // writes to the shards of a node that is gone
	StallWithin   = 500 * time.Millisecond // writes to other shards
	PlannedWithin = 300 * time.Millisecond // writes, when a node is asked to stop
	healthyWithin = 60 * time.Second
	// hopelessAfter is how much longer a run waits before it gives up.
	hopelessAfter = 4 * time.Minute
	// lullMin and lullMax bound the time between two rounds.
	lullMin = 100 * time.Millisecond
	lullMax = 1200 * time.Millisecond
	// lagLimit is how late the harness may run while it measures.
	lagLimit = 100 * time.Millisecond
	// combineShare is how many rounds have more than one fault.
	combineShare = 0.55
)

// Kinds of samples.
const (
	sampleResume  = "resume"
	sampleStall   = "stall"
	samplePlanned = "planned"
)

// Event is a fault of the report's timeline.
type Event struct {
	Round   int           `json:"round"`
	Name    string        `json:"name"`
	What    string        `json:"what"`
	From    time.Duration `json:"from_ns"`
	To      time.Duration `json:"to_ns"`                // healed
	Healthy time.Duration `json:"healthy_ns,omitempty"` // the cluster said so
	// Of a fault that came alone and left a majority: how long until the shards it hit
	// served again, and for how long others did not.
	Resumed time.Duration `json:"resumed_ns,omitempty"`
	Stalled time.Duration `json:"stalled_ns,omitempty"`
}

// Nemesis breaks things. One goroutine uses it.
type Nemesis struct {
	w    *World
	rng  *rand.Rand
	deck *deck

	mu     sync.Mutex
	events []Event
	round  int
}

// sample keeps a measured time.
func (w *World) sample(kind string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[kind] = append(w.samples[kind], d)
}

// Promise is a promise of availability and how it was kept.
type Promise struct {
	Name    string        `json:"name"`
	Within  time.Duration `json:"within_ns"`
	Samples int           `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
	Kept    bool          `json:"kept"`
}

// enoughSamples is from how many on the 99th percentile is judged; of fewer, none may
// take longer than twice the time.
const enoughSamples = 50

// Promises judges what was measured.
func (w *World) Promises() []Promise {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []Promise{
		{Name: "writes to the shards of a node that is gone go on", Within: ResumeWithin},
		{Name: "writes to other shards stall", Within: StallWithin},
		{Name: "writes stall when a node is asked to stop", Within: PlannedWithin},
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

// New returns a nemesis whose choices follow from seed. With only, it deals no other
// kinds of faults than these. A world that has none of them is an error.
func New(w *World, seed uint64, only []string) (*Nemesis, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, name := range only {
		if !slices.ContainsFunc(cards, func(c card) bool { return c.name == name }) {
			return nil, fmt.Errorf("no fault %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	d := newDeck(rng, w, only)
	if len(d.all) == 0 {
		return nil, fmt.Errorf("of the faults %q none can be done here", only)
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

// Events returns the faults so far.
func (n *Nemesis) Events() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// Run does one round of faults after another until ctx ends. When it returns nil the
// cluster is whole.
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

// hand draws the faults of a round.
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

// play does one round: all its faults, until all are healed and the cluster is well.
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
	well := w.Problems.Now()
	for i := range events {
		events[i].Healthy = well
	}
	n.mu.Lock()
	n.events = append(n.events, events...)
	n.mu.Unlock()
	w.Logf("round %d: %s; healthy after %v", n.round, texts(events), (well - healed).Round(time.Millisecond))
	return nil
}

// fault does one fault from its beginning to its end.
func (n *Nemesis) fault(c *card, rng *rand.Rand, measured bool, led map[uint32]int) (Event, error) {
	w := n.w
	if !measured {
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second)))) // faults that overlap
	}
	ev := Event{Round: n.round, Name: c.name, From: w.Problems.Now()}
	acked := w.Acked()
	hurt, err := c.inject(w, rng)
	if err != nil {
		return ev, fmt.Errorf("%s: %w", c.name, err)
	}
	w.Count("faults", 1)
	ev.What = hurt.what
	// Two nodes of five may have two replicas of a shard that a third one leads.
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

// measure holds a fault, and longer where a shard does not serve yet, and samples how
// long shards were not served. So many XADDs were acked before it.
func (n *Nemesis) measure(ev *Event, hurt *injury, led map[uint32]int, acked int) {
	w := n.w
	time.Sleep(hurt.hold)
	hit := func(id uint32) bool { return slices.Contains(hurt.nodes, led[id]) }
	// Less than this is over before anybody would elect a leader.
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

// measurable reports whether the harness has run on time since Lag was last asked: what
// it measures while it is late itself is its own.
func (w *World) measurable() bool { return w.onTime(lagLimit) }

// onTime reports whether the harness has run no later than limit since Lag was last asked.
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

func texts(events []Event) string {
	text := ""
	for i, e := range events {
		if i > 0 {
			text += " + "
		}
		text += e.What
		if e.Resumed > 0 {
			text += fmt.Sprintf(" (its shards served after %v)", e.Resumed.Round(time.Millisecond))
		}
	}
	return text
}
