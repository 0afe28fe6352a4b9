package placement

import (
	"fmt"
	"slices"
)

// Answer is what a node said when an empty node greeted it.
type Answer struct {
	NodeID string
	// ClusterID is the cluster the node belongs to; empty for an empty node, which has
	// joined none and never had.
	ClusterID string
	// Expect is how many empty nodes the node wants to start a cluster with.
	Expect int
	// Lowest is the founder the node itself would name: its own Greeting.Lowest.
	Lowest string
}

// Greeting is the situation of a node with an empty data directory.
type Greeting struct {
	Self   string
	Expect int  // --bootstrap-expect
	Seeds  bool // whether --join names anybody
	// Answers are the latest of every node that is seen and answered just now, seeds
	// and those found through gossip; a node may stand in it twice.
	Answers []Answer
}

// Verdict is what an empty node does next.
type Verdict uint8

// The verdicts.
const (
	// Wait and ask again.
	Wait Verdict = iota
	// Found a cluster: make an ID, start the meta group alone, propose FOUND.
	Found
	// Join the cluster that Decision names, by asking it for NODE.JOIN.
	Join
)

// Decision is a verdict and its reason.
type Decision struct {
	Verdict   Verdict
	ClusterID string // Join: the cluster
	Via       string // Join: a node of it
	Why       string // for the log; what to do about it where somebody should
}

// Lowest returns the founder that a node in g would name: what it answers itself when
// it is greeted. With a cluster in sight it names nobody, so that a node that does not
// see the cluster is not told to found another.
func (g Greeting) Lowest() string {
	if slices.ContainsFunc(g.Answers, func(a Answer) bool { return a.ClusterID != "" }) {
		return ""
	}
	return slices.Min(append(g.empty(), g.Self))
}

// empty returns the IDs of the other empty nodes that could take part in a founding,
// sorted, each once. One that expects nobody else could not: it has founded its own
// cluster or waits to join another's.
func (g Greeting) empty() []string {
	var ids []string
	for _, a := range g.Answers {
		if a.ClusterID == "" && a.NodeID != g.Self && a.Expect > 1 {
			ids = append(ids, a.NodeID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Decide says what an empty node does. It founds only when it is the lowest of at
// least Expect empty nodes, all of which were asked just now, know of no cluster, expect
// as many, and name it, too. With a cluster in sight it joins that and never founds.
//
// No rule can see a node that is out of reach. A second founding needs Expect empty
// nodes that do not see the first Expect; and should it happen by bad luck in the
// timing, the cluster that gets fewer than Expect of the nodes never creates shards
// (SHARDS.CREATE is refused), so it takes no data that could be lost.
func Decide(g Greeting) Decision {
	clusters := make(map[string]string) // ID to the lowest node in it
	for _, a := range g.Answers {
		if a.ClusterID == "" {
			continue
		}
		if via, ok := clusters[a.ClusterID]; !ok || a.NodeID < via {
			clusters[a.ClusterID] = a.NodeID
		}
	}
	switch len(clusters) {
	case 0:
		return g.decideFounder()
	case 1:
		for id, via := range clusters {
			return Decision{Verdict: Join, ClusterID: id, Via: via, Why: "node " + shortID(via) + " belongs to it"}
		}
	}
	ids := make([]string, 0, len(clusters))
	for id := range clusters {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return Decision{Why: fmt.Sprintf("nodes of %d clusters answer (%s): join must name nodes of one", len(ids), shortIDs(ids))}
}

// decideFounder decides where no cluster is in sight.
func (g Greeting) decideFounder() Decision {
	if g.Expect <= 1 {
		if !g.Seeds {
			return Decision{Verdict: Found, Why: "it expects no other node"}
		}
		// Founding now, with the seeds out of reach, would make a second cluster.
		return Decision{Why: "no node named by join belongs to a cluster yet; to start one, leave join out on the first node or set bootstrap-expect on all"}
	}
	others := g.empty()
	if have := len(others) + 1; have < g.Expect {
		return Decision{Why: fmt.Sprintf("%d of %d expected nodes are here", have, g.Expect)}
	}
	if low := min(others[0], g.Self); low != g.Self {
		return Decision{Why: "node " + shortID(low) + " is to found the cluster"}
	}
	agree := 1 // this node
	for _, id := range others {
		same := true
		for _, a := range g.Answers {
			if a.NodeID != id {
				continue
			}
			if a.Expect != g.Expect {
				return Decision{Why: fmt.Sprintf("node %s expects %d nodes, this one %d: bootstrap-expect must be the same on all", shortID(id), a.Expect, g.Expect)}
			}
			same = same && a.Lowest == g.Self
		}
		if same {
			agree++
		}
	}
	if agree < g.Expect {
		return Decision{Why: fmt.Sprintf("%d of %d expected nodes agree that this one founds the cluster", agree, g.Expect)}
	}
	return Decision{Verdict: Found, Why: fmt.Sprintf("it has the lowest ID of %d empty nodes", len(others)+1)}
}
