package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"millrace/placement"
)

// errNotReady is wrapped by Ready; the text says what is missing.
var errNotReady = errors.New("not ready")

// Ready returns nil when this node can serve clients: it is in a cluster, knows the
// map, and every shard has a leader as far as it has heard.
func (n *Node) Ready() error {
	t := n.maps.Table()
	switch {
	case n.draining.Load():
		return fmt.Errorf("%w: stopping", errNotReady)
	case t.ClusterID() == "":
		return fmt.Errorf("%w: in no cluster yet", errNotReady)
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

// Status asks the leader of every shard how it stands.
func (n *Node) Status(ctx context.Context) Status {
	t := n.maps.Table()
	st := Status{NodeID: n.id, ClusterID: t.ClusterID(), Version: Version}
	problem := func(format string, args ...any) { st.Problems = append(st.Problems, fmt.Sprintf(format, args...)) }
	if err := n.Ready(); err != nil {
		problem("this node: %v", err)
	}
	leads := map[string]int{}
	if n.space.low.Load() {
		problem("this node: its disk is nearly full, %d bytes are free", n.space.free.Load())
	}
	for _, s := range n.shardStatuses(ctx, t) {
		if s.Leader == "" {
			problem("shard %d: no leader answers", s.ID)
		}
		if s.ID != placement.MetaShard && s.Leader != "" {
			leads[s.Leader]++
		}
		for _, r := range s.Replicas {
			if text := r.problem(); text != "" {
				problem("shard %d: the replica on %.8s %s", s.ID, r.Node, text)
			}
		}
		if want := t.Replicas(s.ID); s.Leader != "" {
			for _, id := range want {
				if !slices.ContainsFunc(s.Replicas, func(r ReplicaStatus) bool { return r.Node == id }) {
					problem("shard %d: no replica on %.8s yet", s.ID, id)
				}
			}
		}
		st.Shards = append(st.Shards, s)
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

// healthyLag is how many records a voter may be behind in a healthy cluster. One that is
// further behind does not stand in for another: a node that is stopped now may leave its
// shard without a majority until it has caught up.
const healthyLag = 1024

// problem says what is wrong with a replica; empty: nothing.
func (r *ReplicaStatus) problem() string {
	switch {
	case !r.Reached:
		return "does not answer"
	case r.Voter && r.Lag > healthyLag:
		return fmt.Sprintf("is %d records behind", r.Lag)
	}
	return ""
}

// shardStatuses asks about all shards at the same time, the meta group included.
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
				return // no leader answers: Status says so
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
