package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"millrace/placement"
)

// errNotReady is wrapped by the errors of Ready.
var errNotReady = errors.New("not ready")

// Ready returns nil when this node can serve clients: it has the cluster's map, and knows a
// leader of every shard. Otherwise the error says which of these is missing.
func (n *Node) Ready() error {
	t := n.maps.Table()
	switch {
	case n.draining.Load():
		return fmt.Errorf("%w: the node is stopping", errNotReady)
	case t.ClusterID() == "":
		why := "it looks for the other nodes"
		if w := n.waitsFor.Load(); w != nil {
			why = *w
		}
		return fmt.Errorf("%w: the node is in no cluster yet: %s", errNotReady, why)
	case len(t.Shards()) == 0:
		return fmt.Errorf("%w: the cluster has no shards yet", errNotReady)
	}
	for _, s := range t.Shards() {
		if leader, _ := n.leaders.Get(s.ID); leader == "" {
			return fmt.Errorf("%w: shard %d has no leader", errNotReady, s.ID)
		}
	}
	return nil
}

// Status asks the leaders and replicas of all shards for their state, and lists everything
// that differs from a healthy cluster.
func (n *Node) Status(ctx context.Context) Status {
	t := n.maps.Table()
	st := Status{NodeID: n.id, ClusterID: t.ClusterID(), Version: Version}
	problem := func(format string, args ...any) { st.Problems = append(st.Problems, fmt.Sprintf(format, args...)) }
	if err := n.Ready(); err != nil {
		problem("this node: %v", err)
	}
	if n.space.low.Load() {
		problem("this node: its disk is nearly full, %d bytes are free", n.space.free.Load())
	}
	st.Shards = n.shardStatuses(ctx, t)
	leads := map[string]int{}
	for i := range st.Shards {
		s := &st.Shards[i]
		if s.ID != placement.MetaShard && s.Leader != "" {
			leads[s.Leader]++
		}
		for _, text := range s.problems(t.Replicas(s.ID)) {
			problem("shard %d: %s", s.ID, text)
		}
	}
	for _, node := range t.Nodes() {
		alive := n.alive(node.ID)
		if !alive {
			problem("node %.8s: gossip does not reach it", node.ID)
		}
		st.Nodes = append(st.Nodes, NodeStatus{
			ID: node.ID, ClientAddr: node.ClientAddr, PeerAddr: node.PeerAddr, HTTPAddr: node.HTTPAddr,
			Alive: alive, Leads: leads[node.ID],
		})
	}
	st.Healthy = len(st.Problems) == 0
	return st
}

// problems describes how a shard differs from a healthy one. wanted are the nodes that the
// map gives a replica.
func (s *ShardStatus) problems(wanted []string) []string {
	var out []string
	if s.Leader == "" {
		out = append(out, "no leader answers")
	}
	for _, r := range s.Replicas {
		if text := r.problem(); text != "" {
			out = append(out, fmt.Sprintf("the replica on %.8s %s", r.Node, text))
		}
	}
	if s.Leader == "" {
		return out // nobody knows which replicas there are
	}
	for _, id := range wanted {
		if !slices.ContainsFunc(s.Replicas, func(r ReplicaStatus) bool { return r.Node == id }) {
			out = append(out, fmt.Sprintf("no replica on %.8s yet", id))
		}
	}
	return out
}

// healthyLag is the greatest Lag of a voter in a healthy cluster. A voter that is further
// behind cannot stand in for another one: if a node stops now, its shard may be without a
// majority until this voter has caught up.
const healthyLag = 1024

// problem describes the problem of a replica. It returns "" if there is none.
func (r *ReplicaStatus) problem() string {
	switch {
	case !r.Reached:
		return "does not answer"
	case r.Voter && r.Lag > healthyLag:
		return fmt.Sprintf("is %d records behind", r.Lag)
	}
	return ""
}

// shardStatuses asks about all shards in parallel, the meta group included.
func (n *Node) shardStatuses(ctx context.Context, t *placement.Table) []ShardStatus {
	if t.ClusterID() == "" {
		return nil
	}
	out := make([]ShardStatus, len(t.Shards())+1)
	var wg sync.WaitGroup
	for i := range out {
		out[i].ID = uint32(i)
		if s := t.ShardByID(uint32(i)); s != nil {
			out[i].FirstSlot, out[i].LastSlot, out[i].Preferred = int(s.First), int(s.Last), s.Preferred
		}
		wg.Go(func() {
			st, err := n.placementStatus(ctx, uint32(i))
			if err != nil {
				return // Leader stays empty: no leader answers
			}
			out[i].Leader, out[i].Term, out[i].Commit = st.Leader, st.Term, st.Commit
			for _, r := range st.Servers {
				rs := ReplicaStatus{Node: r.ID, Voter: r.Voter, Reached: r.Answered}
				if r.Answered {
					rs.Applied, rs.Lag = r.Applied, st.Commit-min(st.Commit, r.Applied)
				}
				out[i].Replicas = append(out[i].Replicas, rs)
			}
		})
	}
	wg.Wait()
	return out
}
