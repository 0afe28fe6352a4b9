package fault

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/netlab"
	"millrace/test/cluster"
)

func newWorld(nodes int) *World {
	p := check.NewProblems()
	w := &World{
		Cluster: cluster.New("", "", cluster.Options{Nodes: nodes}), Problems: p, SmallDisk: -1,
		Disturbed: NewDisturbed(p.Now),
	}
	w.Prepare()
	return w
}

// deal returns the names of the next n cards.
func deal(d *deck, n int) (names []string) {
	for range n {
		names = append(names, d.deal(func(*card) bool { return true }).name)
	}
	return names
}

func TestDeck(t *testing.T) {
	w := newWorld(5)
	w.Lab, w.SmallDisk, w.FaultyDisks = &netlab.Lab{}, 0, true
	w.Overload = func(*rand.Rand, time.Duration) {}
	d := newDeck(rand.New(rand.NewPCG(1, 1)), w, nil)
	once := deal(d, len(d.all))
	for _, c := range cards {
		n := 0
		for _, name := range once {
			if name == c.name {
				n++
			}
		}
		if n != c.copies {
			t.Errorf("%s: %d in a deck, want %d", c.name, n, c.copies)
		}
	}
	twice := deal(d, len(d.all))
	if slices.Equal(once, twice) {
		t.Error("the deck is not shuffled again")
	}
	same := newDeck(rand.New(rand.NewPCG(1, 1)), w, nil)
	if again := deal(same, len(same.all)); !slices.Equal(once, again) {
		t.Error("the same seed gives two orders")
	}
	if d.deal(func(*card) bool { return false }) != nil {
		t.Error("a card that does not fit was dealt")
	}
}

// TestDeckWithout checks that a deck has no faults that are impossible in its world.
func TestDeckWithout(t *testing.T) {
	d := newDeck(rand.New(rand.NewPCG(1, 1)), newWorld(3), nil)
	for _, c := range d.all {
		if c.network || c.faulty || c.name == "disk full" || c.name == "overload" || c.name == "ring" {
			t.Errorf("the deck has %s", c.name)
		}
	}
	if len(d.all) == 0 {
		t.Error("the deck is empty")
	}
}

// TestHands checks that a round has at most one network fault, and that a fault which is
// marked alone is the only one of its round.
func TestHands(t *testing.T) {
	w := newWorld(5)
	w.Lab, w.FaultyDisks = &netlab.Lab{}, true
	n, err := New(w, 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for range 500 {
		cs := n.hand()
		networks, members := 0, 0
		for _, c := range cs {
			if c.alone && len(cs) > 1 {
				t.Fatalf("%s is not alone", c.name)
			}
			if c.network {
				networks++
			}
			if c.member {
				members++
			}
		}
		if networks > 1 || members > 1 {
			t.Fatalf("%d network faults and %d nodes that lose their data in one round", networks, members)
		}
		most = max(most, len(cs))
	}
	if most < 3 {
		t.Errorf("no round has more than %d faults", most)
	}
}

func TestDisturbed(t *testing.T) {
	at := time.Minute
	d := NewDisturbed(func() time.Duration { return at })
	if !d.Calm(1, time.Second, at) || !d.Clocks() {
		t.Error("disturbed before the first fault")
	}
	d.begin(1)
	d.begin(1)
	d.end(1)
	if d.Calm(1, at, at) || !d.Calm(2, time.Second, at) {
		t.Error("calm while one of two faults holds, or another node is not calm")
	}
	d.end(1)
	if d.Calm(1, at, at) || !d.Calm(1, at+grace+1, at+grace+2) {
		t.Error("calm at the end of the second fault, or disturbed after its grace")
	}
	d.beginClock()
	if d.Clocks() {
		t.Error("the clocks count as right while one is wrong")
	}
	d.endClock(10 * time.Second)
	at += 11 * time.Second
	if d.Clocks() {
		t.Error("the clocks count as right while a shard's clock may be ahead")
	}
	at += 2 * time.Second
	if !d.Clocks() {
		t.Error("the clocks count as wrong although all are right")
	}
}

func TestPromises(t *testing.T) {
	repeat := func(n int, d time.Duration) []time.Duration { return slices.Repeat([]time.Duration{d}, n) }
	for _, tc := range []struct {
		name    string
		samples []time.Duration
		kept    bool
	}{
		{"none", nil, true},
		{"few, once a little late", append(repeat(5, time.Second), 7*time.Second), true},
		{"few, once far too late", append(repeat(5, time.Second), 9*time.Second), false},
		{"many, one in a hundred late", append(repeat(99, time.Second), 60*time.Second), true},
		{"many, two in a hundred late", append(repeat(98, time.Second), 5*time.Second, 5*time.Second), false},
	} {
		w := newWorld(3)
		for _, d := range tc.samples {
			w.sample(sampleResume, d)
		}
		if p := w.Promises()[0]; p.Kept != tc.kept || p.Samples != len(tc.samples) {
			t.Errorf("%s: %+v", tc.name, p)
		}
	}
}

func TestDigests(t *testing.T) {
	w := newWorld(3)
	d := &digests{byIndex: map[int64]digest{}}
	if d.take(w, 1, 128, "a", 0) || !d.take(w, 1, 128, "a", 1) || d.take(w, 1, 128, "a", 0) {
		t.Error("take compared a digest with itself, or did not compare two nodes")
	}
	if _, n := w.Problems.All(); n != 0 {
		t.Error("equal digests are reported")
	}
	d.take(w, 1, 128, "b", 2)
	kept, n := w.Problems.All()
	if n != 1 || kept[0].Invariant != "S4" || !strings.Contains(kept[0].Text, "node 3") {
		t.Errorf("%+v", kept)
	}
	for i := range int64(2 * digestsKept) {
		d.take(w, 1, i, "a", 0)
	}
	if len(d.byIndex) > digestsKept {
		t.Errorf("%d digests are kept", len(d.byIndex))
	}
}

func TestBetween(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	short := 0
	for range 1000 {
		d := between(rng, 100*time.Millisecond, 10*time.Second)
		if d < 100*time.Millisecond || d > 10*time.Second {
			t.Fatal(d)
		}
		if d < time.Second {
			short++
		}
	}
	if short < 400 || short > 600 {
		t.Errorf("%d of 1000 are below the middle", short)
	}
}
