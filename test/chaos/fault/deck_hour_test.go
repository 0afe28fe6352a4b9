package fault

import (
	"math/rand/v2"
	"testing"
	"time"

	"millrace/test/chaos/netlab"
)

// yield is the measured duration of a kind of fault on five nodes, and the amounts that it
// adds to the report's counters.
type yield struct {
	took                   time.Duration
	kills, pauses, members int
	shape                  string
}

const (
	tenth = 100 * time.Millisecond
	// roundRest is the usual time of a round without its faults: healing, and the pause
	// before the next round.
	roundRest = 2300 * time.Millisecond
)

var yields = map[string]yield{
	"kill leader":         {took: 20 * tenth, kills: 1},
	"kill one":            {took: 15 * tenth, kills: 1},
	"kill majority":       {took: 15 * tenth, kills: 3},
	"kill all":            {took: 20 * tenth, kills: 5},
	"power cut":           {took: 20 * tenth},
	"power cut of all":    {took: 25 * tenth},
	"pause leader":        {took: 20 * tenth, pauses: 1},
	"pause leader long":   {took: 140 * tenth, pauses: 1},
	"pause follower":      {took: 20 * tenth, pauses: 1},
	"pause majority":      {took: 15 * tenth, pauses: 3},
	"pause all":           {took: 12 * tenth, pauses: 5},
	"halves":              {took: 28 * tenth, shape: "halves"},
	"alone":               {took: 28 * tenth, shape: "one node"},
	"bridge":              {took: 25 * tenth, shape: "bridge"},
	"one way":             {took: 28 * tenth, shape: "one way"},
	"clients from leader": {took: 22 * tenth, shape: "clients from leader"},
	"ring":                {took: 22 * tenth, shape: "ring"},
	"link":                {took: 22 * tenth},
	"vanished":            {took: 50 * tenth},
	"delay":               {took: 56 * tenth},
	"loss":                {took: 56 * tenth},
	"slow link":           {took: 56 * tenth},
	"gossip split":        {took: 95 * tenth},
	"swizzle":             {took: 30 * tenth},
	"clock jump":          {took: 30 * tenth},
	"clock strobe":        {took: 41 * tenth},
	"transfers":           {took: 32 * tenth},
	"transfer storm":      {took: 43 * tenth},
	"overload":            {took: 45 * tenth},
	"rolling restart":     {took: 110 * tenth},
	"slow disk":           {took: 50 * tenth},
	"disk stalls":         {took: 32 * tenth},
	"disk hangs":          {took: 115 * tenth},
	"disk error":          {took: 5 * tenth},
	"torn write":          {took: 5 * tenth},
	"flipped bit":         {took: 5 * tenth},
	"disk full":           {took: 43 * tenth},
	"replace":             {took: 60 * tenth, members: 10},
	"wiped":               {took: 85 * tenth, members: 10, kills: 1},
	"rotten file":         {took: 120 * tenth, members: 10, kills: 1},
	"divergent snapshot":  {took: 140 * tenth, shape: "one node"},
	"late snapshot":       {took: 140 * tenth, shape: "one node"},
	"without one":         {took: 195 * tenth},
}

// TestHour checks that an hour of `make chaos` injects as many faults as
// docs/reliability.md promises, and a quarter more, because a busy machine is slower.
func TestHour(t *testing.T) {
	w := newWorld(5)
	w.Lab, w.SmallDisk, w.FaultyDisks = &netlab.Lab{}, 4, true
	w.Overload = func(*rand.Rand, time.Duration) {}
	n, err := New(w, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	var kills, pauses, members, rounds, faults int
	shapes := map[string]int{}
	const hours = 20
	for at := time.Duration(0); at < hours*time.Hour; rounds++ {
		took := time.Duration(0)
		for _, c := range n.hand() {
			y, ok := yields[c.name]
			if !ok {
				t.Fatalf("yields has no line for %q", c.name)
			}
			took = max(took, y.took)
			kills, pauses, members = kills+y.kills, pauses+y.pauses, members+y.members
			faults++
			if y.shape != "" {
				shapes[y.shape]++
			}
		}
		at += took + roundRest
	}
	t.Logf("an hour: %d rounds, %d faults: %d kills, %d pauses, %d membership changes, partitions %v in %d hours",
		rounds/hours, faults/hours, kills/hours, pauses/hours, members/hours, shapes, hours)
	for _, tc := range []struct {
		what        string
		got, wanted int
	}{
		{"kills", kills, 200}, {"pauses", pauses, 200}, {"membership changes", members, 100},
		{"halves", shapes["halves"], 50}, {"one node", shapes["one node"], 50}, {"bridge", shapes["bridge"], 50},
		{"one way", shapes["one way"], 50}, {"clients from leader", shapes["clients from leader"], 50},
	} {
		if got := tc.got / hours; 4*got < 5*tc.wanted {
			t.Errorf("%s: %d an hour, want %d and a quarter more", tc.what, got, tc.wanted)
		}
	}
}
