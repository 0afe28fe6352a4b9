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

// world lets the placement controller see the cluster and change it.
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

// change asks a shard's leader for one change of its Raft configuration, which must still
// be the one with index configIndex. verb is one of the three above.
func (n *Node) change(ctx context.Context, id uint32, configIndex uint64, verb, node string) error {
	_, err := n.caller.do(ctx, id, call.Admin, words([]string{verb, node, fmt.Sprint(configIndex)})...)
	return err
}

// shardStatus asks the leader of a shard for its status.
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

// placementStatus asks the leader of a shard for its status, and then all replicas in
// parallel how far they are.
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
			if p, err := n.delivery.Probe(ctx, s.ID, id); err == nil && p.Hosted {
				s.Answered, s.LastIndex, s.Applied = true, p.LastIndex, p.Applied
			}
		})
	}
	wg.Wait()
	return out, nil
}

// probeTimeout limits the question to one replica how far it is.
const probeTimeout = time.Second

// handOver transfers the leadership of every shard that this node leads to another
// voter, all of them in parallel.
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
				n.log.Warn("no other voter can take over a leadership", "shard", id)
				return
			}
			if err := s.Transfer(ctx, heir); err != nil {
				n.log.Warn("a leadership transfer failed", "shard", id, "to", heir[:8], "error", err)
			}
		})
	}
	wg.Wait()
}

// heir returns the voter that should lead a shard after this node: of those that answer
// and are not about to stop themselves, the one with the longest log. It returns "" if
// there is none.
func (n *Node) heir(ctx context.Context, id uint32, voters []string) string {
	best, last := "", uint64(0)
	for _, v := range slices.Sorted(slices.Values(voters)) {
		if m, ok := n.gossip.Lookup(v); v == n.id || ok && m.Meta.Draining {
			continue
		}
		pctx, cancel := context.WithTimeout(ctx, probeTimeout)
		p, err := n.delivery.Probe(pctx, v, id)
		cancel()
		if err == nil && p.Hosted && (best == "" || p.LastIndex > last) {
			best, last = v, p.LastIndex
		}
	}
	return best
}
