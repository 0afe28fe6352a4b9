package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"millrace/call"
	"millrace/placement"
	"millrace/shard"
)

// world is the cluster as the placement controller sees and moves it.
type world struct{ n *Node }

// Map implements placement.World.
func (w world) Map() *placement.Map { return w.n.meta.machine.Map() }

// Members implements placement.World.
func (w world) Members() []placement.Member {
	out := []placement.Member{{ID: w.n.id, Alive: !w.n.leaving()}}
	for _, m := range w.n.gossip.Members() {
		if m.ID != w.n.id {
			out = append(out, placement.Member{ID: m.ID, Alive: m.Alive && !m.Meta.Draining})
		}
	}
	return out
}

// ShardStatus implements placement.World.
func (w world) ShardStatus(ctx context.Context, id uint32) (placement.ShardStatus, error) {
	return w.n.placementStatus(ctx, id)
}

// Propose implements placement.World.
func (w world) Propose(ctx context.Context, argv []string) error { return w.n.meta.propose(ctx, argv) }

// AddNonvoter implements placement.World.
func (w world) AddNonvoter(ctx context.Context, id uint32, node string, configIndex uint64) error {
	return w.n.change(ctx, id, configIndex, "ADDNONVOTER", node)
}

// AddVoter implements placement.World.
func (w world) AddVoter(ctx context.Context, id uint32, node string, configIndex uint64) error {
	return w.n.change(ctx, id, configIndex, "ADDVOTER", node)
}

// Remove implements placement.World.
func (w world) Remove(ctx context.Context, id uint32, node string, configIndex uint64) error {
	return w.n.change(ctx, id, configIndex, "REMOVE", node)
}

// Transfer implements placement.World.
func (w world) Transfer(ctx context.Context, id uint32, node string) error {
	_, err := w.n.caller.do(ctx, id, call.Admin, words([]string{"TRANSFER", node})...)
	return err
}

// change asks a shard's leader for one change of membership, of the configuration that
// was looked at.
func (n *Node) change(ctx context.Context, id uint32, configIndex uint64, what, node string) error {
	_, err := n.caller.do(ctx, id, call.Admin, words([]string{what, node, fmt.Sprint(configIndex)})...)
	return err
}

// shardStatus asks the leader of a shard what it knows.
func (n *Node) shardStatus(ctx context.Context, id uint32) (shard.Status, error) {
	var st shard.Status
	v, err := n.caller.do(ctx, id, call.Admin, []byte("STATUS"))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(v.Str, &st); err != nil {
		return st, fmt.Errorf("status of shard %d: %w", id, err)
	}
	return st, nil
}

// placementStatus asks the leader of a shard, and then all its replicas at once.
func (n *Node) placementStatus(ctx context.Context, id uint32) (placement.ShardStatus, error) {
	st, err := n.shardStatus(ctx, id)
	if err != nil {
		return placement.ShardStatus{}, err
	}
	out := placement.ShardStatus{Leader: st.Node, Term: st.Term, Commit: st.Commit, ConfigIndex: st.ConfigurationIndex}
	for _, v := range st.Voters {
		out.Servers = append(out.Servers, placement.Server{ID: v, Voter: true})
	}
	for _, v := range st.Nonvoters {
		out.Servers = append(out.Servers, placement.Server{ID: v})
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range out.Servers {
		s := &out.Servers[i]
		wg.Go(func() {
			if p, err := n.probe(ctx, s.ID, id); err == nil && p.Hosted {
				s.Answered, s.LastIndex, s.Applied = true, p.LastIndex, p.Applied
			}
		})
	}
	wg.Wait()
	return out, nil
}

// probeTimeout bounds asking one replica how far it is.
const probeTimeout = time.Second

// probe asks a node, this one included, about its replica of a shard.
func (n *Node) probe(ctx context.Context, node string, id uint32) (call.Probe, error) {
	if node == n.id {
		return n.replicas.Probe(id), nil
	}
	return n.peers.Probe(ctx, node, id)
}

// handOver asks every shard that this node leads to let another replica lead.
func (n *Node) handOver(ctx context.Context) {
	var wg sync.WaitGroup
	for id, s := range n.replicas.all() {
		st := s.Status()
		if st.Leader != n.id || len(st.Voters) < 2 {
			continue
		}
		wg.Go(func() {
			heir := n.heir(ctx, id, st.Voters)
			if heir == "" {
				n.log.Warn("nobody to hand a leadership to", "shard", id)
				return
			}
			if err := s.Transfer(ctx, heir); err != nil {
				n.log.Warn("a leadership could not be handed over", "shard", id, "to", heir[:8], "error", err)
			}
		})
	}
	wg.Wait()
}

// heir returns the voter of a shard, other than this node, that has most of its log and
// is not about to stop itself; empty when none answers.
func (n *Node) heir(ctx context.Context, id uint32, voters []string) string {
	best, last := "", uint64(0)
	for _, v := range slices.Sorted(slices.Values(voters)) {
		if m, ok := n.gossip.Lookup(v); v == n.id || ok && m.Meta.Draining {
			continue
		}
		pctx, cancel := context.WithTimeout(ctx, probeTimeout)
		p, err := n.probe(pctx, v, id)
		cancel()
		if err == nil && p.Hosted && (best == "" || p.LastIndex > last) {
			best, last = v, p.LastIndex
		}
	}
	return best
}
