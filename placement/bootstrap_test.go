package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	empty := func(n string, expect int, lowest string) Answer {
		return Answer{NodeID: id(n), Expect: expect, Lowest: id(lowest)}
	}
	in := func(n, cluster string) Answer { return Answer{NodeID: id(n), ClusterID: id(cluster)} }
	for _, c := range []struct {
		what    string
		self    string
		expect  int
		seeds   bool
		answers []Answer
		want    Verdict
		why     string // part of the reason; for Join, the node to ask
	}{
		{"one node, nobody else", "a", 1, false, nil, Found, "no other node"},
		{"one node, joiners wait for it already", "b", 1, false, []Answer{empty("a", 1, "a")}, Found, "no other node"},
		{"one node that finds a cluster", "a", 1, false, []Answer{in("b", "x")}, Join, "b"},
		{"join, seed out of reach", "a", 1, true, nil, Wait, "bootstrap-expect"},
		{"join, seed as empty as this node", "a", 1, true, []Answer{empty("b", 1, "a")}, Wait, "bootstrap-expect"},
		{"join, seed in a cluster", "a", 1, true, []Answer{empty("b", 1, "a"), in("c", "x")}, Join, "c"},

		{"three, alone", "a", 3, true, nil, Wait, "1 of 3"},
		{"three, a seed out of reach", "a", 3, true, []Answer{empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, one counted twice", "a", 3, true, []Answer{empty("b", 3, "a"), empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, itself counted", "a", 3, true, []Answer{empty("a", 3, "a"), empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, without seeds but seen", "a", 3, false, []Answer{empty("b", 3, "a"), empty("c", 3, "a")}, Found, "lowest"},
		{"three, all here", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a")}, Found, "lowest"},
		{"three, not the lowest", "b", 3, true, []Answer{empty("a", 3, "a"), empty("c", 3, "a")}, Wait, "is to found"},
		{"three, one has not seen this node yet", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "b")}, Wait, "2 of 3 expected nodes agree"},
		{"three, one sees a lower one", "b", 3, true, []Answer{empty("c", 3, "b"), empty("d", 3, "a")}, Wait, "agree"},
		{"three, one said two things", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), empty("c", 3, "c")}, Wait, "agree"},
		{"three of four agree", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), empty("d", 3, "b")}, Found, "lowest"},
		{"three, one already in a cluster", "a", 3, true, []Answer{empty("b", 3, "a"), in("c", "x")}, Join, "c"},
		{"three and a restarted one of a cluster", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), in("d", "x")}, Join, "d"},
		{"the node of a cluster with the lowest ID", "a", 3, true, []Answer{in("d", "x"), in("c", "x")}, Join, "c"},
		{"two clusters answer", "a", 3, true, []Answer{in("b", "x"), in("c", "y"), empty("d", 3, "a")}, Wait, "2 clusters"},
		{"others expect another number", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 5, "a")}, Wait, "must be the same"},
		{"a joiner of default settings does not count", "b", 3, true, []Answer{empty("a", 1, "a"), empty("c", 3, "b")}, Wait, "2 of 3"},
		{"a joiner of default settings does not stop it", "b", 3, true, []Answer{empty("a", 1, "a"), empty("c", 3, "b"), empty("d", 3, "b")}, Found, "lowest"},
		{"two, all here", "a", 2, true, []Answer{empty("b", 2, "a")}, Found, "lowest"},
	} {
		d := Decide(Greeting{Self: id(c.self), Expect: c.expect, Seeds: c.seeds, Answers: c.answers})
		if d.Verdict != c.want || d.Why == "" {
			t.Errorf("%s: verdict %d (%s), want %d", c.what, d.Verdict, d.Why, c.want)
			continue
		}
		if c.want == Join {
			if name(d.Via) != c.why || name(d.ClusterID) != "x" {
				t.Errorf("%s: cluster %s via %s", c.what, d.ClusterID, d.Via)
			}
		} else if !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %q, want it to say %q", c.what, d.Why, c.why)
		}
	}
}

// TestDecideFoundsOnce: nodes that see any parts of each other, decide at their own
// time and learn of a founding only where they can see it. As long as two sets of the
// expected size have a node in common, and answers are of one moment, at most one of
// them founds.
func TestDecideFoundsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 7).Draw(t, "nodes")
		expect := n/2 + 1 + rapid.IntRange(0, n-n/2-1).Draw(t, "more")
		nodes := strings.Split("abcdefg", "")[:n]
		sees := make(map[string]bool) // both ways: an answer needs both
		for i, a := range nodes {
			for _, b := range nodes[:i] {
				if rapid.IntRange(0, 3).Draw(t, "link") > 0 {
					sees[a+b], sees[b+a] = true, true
				}
			}
		}
		cluster := make(map[string]string)
		// What a node says names whom it would, which hangs on what others are, not on what they say.
		greet := func(self string) Greeting {
			g := Greeting{Self: id(self), Expect: expect, Seeds: true}
			for _, n := range nodes {
				if sees[self+n] {
					g.Answers = append(g.Answers, Answer{NodeID: id(n), ClusterID: cluster[n], Expect: expect})
				}
			}
			return g
		}
		heard := func(self string) Greeting {
			g := greet(self)
			for i, a := range g.Answers {
				g.Answers[i].Lowest = greet(name(a.NodeID)).Lowest()
			}
			return g
		}
		// All look at the same moment, before any founding is seen: the worst there is.
		var founders []string
		for _, n := range nodes {
			if Decide(heard(n)).Verdict == Found {
				founders = append(founders, n)
			}
		}
		if len(founders) > 1 {
			t.Fatalf("%v found, of %d nodes expecting %d, links %v", founders, n, expect, sees)
		}
		// Those who see the founder join it, one after the other; nobody founds again.
		for _, f := range founders {
			cluster[f] = id(f)
		}
		for range n {
			for _, n := range nodes {
				if cluster[n] != "" {
					continue
				}
				switch d := Decide(heard(n)); d.Verdict {
				case Join:
					cluster[n] = d.ClusterID
				case Found:
					if len(founders) > 0 {
						t.Fatalf("node %s founds after %v", n, founders)
					}
				}
			}
		}
	})
}

// TestSecondFoundingStaysEmpty: two clusters that each expect three nodes cannot both
// get shards from five, whoever joins which.
func TestSecondFoundingStaysEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		found := func(cluster, n string) *meta {
			m := newMeta()
			if v, err := m.apply(slices.Concat([]string{"FOUND", id(cluster), "4", "3", "3", id(n)}, addrs(n))...); err != nil || v.IsErr() {
				t.Fatal(v, err)
			}
			return m
		}
		clusters := []*meta{found("x", "a"), found("y", "b")}
		for _, n := range []string{"c", "d", "e"} {
			c := clusters[rapid.IntRange(0, 1).Draw(t, "joins")]
			if v, err := c.apply(slices.Concat([]string{"NODE.JOIN", c.Map().ClusterID, id(n)}, addrs(n))...); err != nil || v.IsErr() {
				t.Fatal(v, err)
			}
		}
		with := 0
		for _, c := range clusters {
			for _, s := range Plan(c.Map(), Observed{}) {
				if _, err := c.apply(s.Argv...); err != nil {
					t.Fatal(err)
				}
			}
			// Also asked for by somebody who does not plan.
			if _, err := c.apply("SHARDS.CREATE", fmt.Sprint(c.Map().Version)); err != nil {
				t.Fatal(err)
			}
			if len(c.Map().Shards) > 0 {
				with++
			}
		}
		if with > 1 {
			t.Fatal("two clusters have shards")
		}
	})
}
