package placement

import (
	"fmt"
	"slices"
)

// Answer is the answer of one node to an empty node that greeted it.
type Answer struct {
	NodeID string
	// ClusterID is the cluster that the node belongs to. It is empty for an empty node,
	// which has never joined a cluster.
	ClusterID string
	// Expect is the node's own --bootstrap-expect.
	Expect int
	// Lowest is the node that should create the cluster in the view of the answering
	// node: its own Greeting.Lowest.
	Lowest string
}

// Greeting is the view that a node with an empty data directory has of the other nodes.
type Greeting struct {
	Self   string
	Expect int  // --bootstrap-expect
	Seeds  bool // whether --join names any node
	// Answers are the latest answers of all nodes that have just been asked: seeds, and
	// nodes found through gossip. A node may occur twice.
	Answers []Answer
}

// Verdict is the next action of an empty node.
type Verdict uint8

// The verdicts.
const (
	// Wait means to greet the other nodes again later.
	Wait Verdict = iota
	// CreateCluster means to make a cluster ID, start the meta group alone and propose FOUND.
	CreateCluster
	// JoinCluster means to ask the cluster in the Decision for NODE.JOIN.
	JoinCluster
)

// Decision is a verdict and its reason.
type Decision struct {
	Verdict   Verdict
	ClusterID string // for JoinCluster: the cluster to join
	Via       string // for JoinCluster: a node of that cluster
	Why       string // for the log; says how to resolve a situation that needs an operator
}

// Lowest returns the node that should create a cluster in the view of g. A node sends it
// in its answer to a greeting. If g has seen an existing cluster, Lowest returns "", so
// that a node that does not see that cluster is not encouraged to create another.
func (g Greeting) Lowest() string {
	if slices.ContainsFunc(g.Answers, func(a Answer) bool { return a.ClusterID != "" }) {
		return ""
	}
	return slices.Min(append(g.empty(), g.Self))
}

// empty returns the sorted IDs of the other empty nodes that may take part in creating a
// cluster, each once. A node with --bootstrap-expect 1 does not take part: it creates its
// own cluster, or waits to join an existing one.
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

// Decide returns the next action of an empty node. The node creates a cluster only if
//
//  1. no node has answered that it belongs to a cluster,
//  2. at least Expect empty nodes, itself included, have just answered and expect as many,
//  3. it has the lowest ID of them, and at least Expect of them, itself included, see it
//     as the lowest.
//
// If an existing cluster has answered, the node joins it and never creates one.
//
// No rule can take an unreachable node into account. A second cluster would need Expect
// other empty nodes that do not see the first ones. If unlucky timing leads to a second
// cluster nevertheless, the one that fewer than Expect nodes join never gets shards,
// because SHARDS.CREATE is refused. It therefore never holds data that could be lost.
func Decide(g Greeting) Decision {
	clusters := make(map[string]string) // cluster ID to the lowest node ID in it
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
		return g.decideCreation()
	case 1:
		for id, via := range clusters {
			return Decision{Verdict: JoinCluster, ClusterID: id, Via: via, Why: "node " + shortID(via) + " belongs to this cluster"}
		}
	}
	ids := make([]string, 0, len(clusters))
	for id := range clusters {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return Decision{Why: fmt.Sprintf("nodes of %d clusters answer (%s): --join must name nodes of one cluster only", len(ids), shortIDs(ids))}
}

// decideCreation decides for a node that has seen no cluster.
func (g Greeting) decideCreation() Decision {
	if g.Expect <= 1 {
		if !g.Seeds {
			return Decision{Verdict: CreateCluster, Why: "this node expects no other node"}
		}
		// The seeds may belong to a cluster and be unreachable at the moment. Creating a
		// cluster now would then make a second one.
		return Decision{Why: "no node named by --join belongs to a cluster yet; to create one, leave --join out on the first node or set --bootstrap-expect on all nodes"}
	}
	others := g.empty()
	if have := len(others) + 1; have < g.Expect {
		return Decision{Why: fmt.Sprintf("%d of %d expected nodes are here: start the others, with --join that names this node, and the same --bootstrap-expect and --cluster-secret-file", have, g.Expect)}
	}
	if low := min(others[0], g.Self); low != g.Self {
		return Decision{Why: "node " + shortID(low) + " has a lower ID and is expected to create the cluster"}
	}
	agree := 1 // this node
	for _, id := range others {
		same := true
		for _, a := range g.Answers {
			if a.NodeID != id {
				continue
			}
			if a.Expect != g.Expect {
				return Decision{Why: fmt.Sprintf("node %s expects %d nodes, this one %d: --bootstrap-expect must be the same on all nodes", shortID(id), a.Expect, g.Expect)}
			}
			same = same && a.Lowest == g.Self
		}
		if same {
			agree++
		}
	}
	if agree < g.Expect {
		return Decision{Why: fmt.Sprintf("%d of %d expected nodes agree that this node creates the cluster", agree, g.Expect)}
	}
	return Decision{Verdict: CreateCluster, Why: fmt.Sprintf("this node has the lowest ID of %d empty nodes", len(others)+1)}
}
