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
		why     string // part of the reason; for JoinCluster, the node to ask
	}{
		{"one node, nobody else", "a", 1, false, nil, CreateCluster, "no other node"},
		{"one node, joiners wait for it already", "b", 1, false, []Answer{empty("a", 1, "a")}, CreateCluster, "no other node"},
		{"one node that finds a cluster", "a", 1, false, []Answer{in("b", "x")}, JoinCluster, "b"},
		{"join, seed out of reach", "a", 1, true, nil, Wait, "bootstrap-expect"},
		{"join, seed as empty as this node", "a", 1, true, []Answer{empty("b", 1, "a")}, Wait, "bootstrap-expect"},
		{"join, seed in a cluster", "a", 1, true, []Answer{empty("b", 1, "a"), in("c", "x")}, JoinCluster, "c"},

		{"three, alone", "a", 3, true, nil, Wait, "1 of 3"},
		{"three, a seed out of reach", "a", 3, true, []Answer{empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, one counted twice", "a", 3, true, []Answer{empty("b", 3, "a"), empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, itself counted", "a", 3, true, []Answer{empty("a", 3, "a"), empty("b", 3, "a")}, Wait, "2 of 3"},
		{"three, without seeds but seen", "a", 3, false, []Answer{empty("b", 3, "a"), empty("c", 3, "a")}, CreateCluster, "lowest"},
		{"three, all here", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a")}, CreateCluster, "lowest"},
		{"three, not the lowest", "b", 3, true, []Answer{empty("a", 3, "a"), empty("c", 3, "a")}, Wait, "is expected to create"},
		{"three, one has not seen this node yet", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "b")}, Wait, "2 of 3 expected nodes agree"},
		{"three, one sees a lower one", "b", 3, true, []Answer{empty("c", 3, "b"), empty("d", 3, "a")}, Wait, "agree"},
		{"three, one said two things", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), empty("c", 3, "c")}, Wait, "agree"},
		{"three of four agree", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), empty("d", 3, "b")}, CreateCluster, "lowest"},
		{"three, one already in a cluster", "a", 3, true, []Answer{empty("b", 3, "a"), in("c", "x")}, JoinCluster, "c"},
		{"three and a restarted one of a cluster", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 3, "a"), in("d", "x")}, JoinCluster, "d"},
		{"the node of a cluster with the lowest ID", "a", 3, true, []Answer{in("d", "x"), in("c", "x")}, JoinCluster, "c"},
		{"two clusters answer", "a", 3, true, []Answer{in("b", "x"), in("c", "y"), empty("d", 3, "a")}, Wait, "2 clusters"},
		{"others expect another number", "a", 3, true, []Answer{empty("b", 3, "a"), empty("c", 5, "a")}, Wait, "must be the same"},
		{"a joiner of default settings does not count", "b", 3, true, []Answer{empty("a", 1, "a"), empty("c", 3, "b")}, Wait, "2 of 3"},
		{"a joiner of default settings does not stop it", "b", 3, true, []Answer{empty("a", 1, "a"), empty("c", 3, "b"), empty("d", 3, "b")}, CreateCluster, "lowest"},
		{"two, all here", "a", 2, true, []Answer{empty("b", 2, "a")}, CreateCluster, "lowest"},
	} {
		d := Decide(Greeting{Self: id(c.self), Expect: c.expect, Seeds: c.seeds, Answers: c.answers})
		if d.Verdict != c.want || d.Why == "" {
			t.Errorf("%s: verdict %d (%s), want %d", c.what, d.Verdict, d.Why, c.want)
			continue
		}
		if c.want == JoinCluster {
			if name(d.Via) != c.why || name(d.ClusterID) != "x" {
				t.Errorf("%s: cluster %s via %s", c.what, d.ClusterID, d.Via)
			}
		} else if !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %q, want it to say %q", c.what, d.Why, c.why)
		}
	}
}

// TestDecideCreatesOnce lets nodes decide that see arbitrary parts of each other. The
// expected number is more than half of the nodes, so that any two sets of that size have a
// node in common. If the answers are all of one moment, at most one node may create a
// cluster, and no node may create another one later.
func TestDecideCreatesOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSight(t)
		// All decide at the same moment, before any of them sees a cluster. This is the worst
		// case.
		var creators []string
		for _, n := range s.nodes {
			if Decide(s.heard(n)).Verdict == CreateCluster {
				creators = append(creators, n)
			}
		}
		if len(creators) > 1 {
			t.Fatalf("%v created clusters; %d nodes expect %d, links %v", creators, len(s.nodes), s.expect, s.sees)
		}
		// The nodes that see the creator join it one after the other. No other node creates
		// a cluster.
		for _, n := range creators {
			s.cluster[n] = id(n)
		}
		for range s.nodes {
			for _, n := range s.nodes {
				if s.cluster[n] != "" {
					continue
				}
				switch d := Decide(s.heard(n)); d.Verdict {
				case JoinCluster:
					s.cluster[n] = d.ClusterID
				case CreateCluster:
					if len(creators) > 0 {
						t.Fatalf("node %s created a cluster after %v", n, creators)
					}
				}
			}
		}
	})
}

// sight is a set of nodes, some of which see each other.
type sight struct {
	nodes   []string
	expect  int
	sees    map[string]bool   // by the names of two nodes; always in both directions, as an answer needs both
	cluster map[string]string // by node; missing for an empty node
}

func drawSight(t *rapid.T) *sight {
	n := rapid.IntRange(2, 7).Draw(t, "nodes")
	s := &sight{
		nodes:  strings.Split("abcdefg", "")[:n],
		expect: n/2 + 1 + rapid.IntRange(0, n-n/2-1).Draw(t, "more"),
		sees:   make(map[string]bool), cluster: make(map[string]string),
	}
	for i, a := range s.nodes {
		for _, b := range s.nodes[:i] {
			if rapid.IntRange(0, 3).Draw(t, "link") > 0 {
				s.sees[a+b], s.sees[b+a] = true, true
			}
		}
	}
	return s
}

// greet returns the answers that self gets, without the Lowest of each.
func (s *sight) greet(self string) Greeting {
	g := Greeting{Self: id(self), Expect: s.expect, Seeds: true}
	for _, n := range s.nodes {
		if s.sees[self+n] {
			g.Answers = append(g.Answers, Answer{NodeID: id(n), ClusterID: s.cluster[n], Expect: s.expect})
		}
	}
	return g
}

// heard returns the complete answers that self gets. Lowest depends on the nodes that the
// answering node sees, but not on their own Lowest.
func (s *sight) heard(self string) Greeting {
	g := s.greet(self)
	for i, a := range g.Answers {
		g.Answers[i].Lowest = s.greet(name(a.NodeID)).Lowest()
	}
	return g
}

// TestSecondClusterStaysEmpty shows that two clusters which each expect three nodes cannot
// both get shards if there are five nodes, no matter which nodes join which cluster.
func TestSecondClusterStaysEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		create := func(cluster, n string) *meta {
			m := newMeta()
			if v, err := m.apply(slices.Concat([]string{"FOUND", id(cluster), "4", "3", "3", id(n)}, addrs(n))...); err != nil || v.IsErr() {
				t.Fatal(v, err)
			}
			return m
		}
		clusters := []*meta{create("x", "a"), create("y", "b")}
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
			// A sender other than the controller may propose it, too.
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
