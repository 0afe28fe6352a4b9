package placement

import (
	"slices"
	"strconv"
)

// planMeta plans at most one step for the meta group: it creates the shards once enough
// nodes have joined, and otherwise adjusts the members of the meta group.
func (p *planner) planMeta() {
	if p.createShards() {
		return
	}
	v := p.status(MetaShard)
	if v == nil {
		return
	}
	switch st := &v.Status; {
	case p.removeStrangers(st):
	case p.finishLeaving(st):
	case p.addNewcomers(st):
	default:
		p.adjustVoters(v)
	}
}

// createShards plans SHARDS.CREATE once the expected number of nodes has joined.
func (p *planner) createShards() bool {
	if len(p.m.Shards) > 0 || len(p.m.Active()) < p.m.Settings.Expect {
		return false
	}
	p.propose(MetaShard, "the expected nodes have joined",
		"SHARDS.CREATE", strconv.FormatUint(p.m.Version, 10))
	return true
}

// removeStrangers takes a non-voter out of the meta group that is removed or not in the
// map.
func (p *planner) removeStrangers(st *ShardStatus) bool {
	for i := range st.Servers {
		s := &st.Servers[i]
		if n := p.m.Node(s.ID); !s.Voter && (n == nil || n.State == Removed) {
			p.member(StepRemove, MetaShard, st, s.ID, "it is not a node of the cluster")
			return true
		}
	}
	return false
}

// finishLeaving marks a draining node as removed once gossip does not reach it any more,
// it has no vote in the meta group, and it holds no replica of a data shard.
func (p *planner) finishLeaving(st *ShardStatus) bool {
	for _, id := range p.m.joined(func(n *Node) bool { return n.State == Draining && !p.w.Alive[n.ID] }) {
		if s := st.Server(id); (s == nil || !s.Voter) && p.holdsNothing(id) {
			p.propose(MetaShard, "the node was draining and has left", "NODE.STATE", id, Removed.String())
			return true
		}
	}
	return false
}

// addNewcomers makes a node that has joined a non-voter of the meta group, so that it
// receives the map. Every node keeps the map.
func (p *planner) addNewcomers(st *ShardStatus) bool {
	for _, id := range p.m.joined(func(n *Node) bool { return n.State != Removed }) {
		if st.Server(id) == nil && p.w.Alive[id] {
			p.member(StepAddNonvoter, MetaShard, st, id, "every node keeps the map")
			return true
		}
	}
	return false
}

// adjustVoters brings the meta group closer to an odd number of voters, all on active
// nodes: 1, 3 or 5, as far as the cluster has nodes. An even number would survive no more
// failures than the odd number below it.
func (p *planner) adjustVoters(v *ShardView) {
	st := &v.Status
	active := p.m.Active()
	var good, bad []string // voters to keep, and voters to remove
	for i := range st.Servers {
		switch s := &st.Servers[i]; {
		case s.Voter && p.active(s.ID):
			good = append(good, s.ID)
		case s.Voter:
			bad = append(bad, s.ID)
		}
	}
	target := min(len(active), MaxMetaVoters)
	target -= 1 - target%2
	switch {
	case len(good) < target:
		var ready []string
		for _, id := range active {
			if s := st.Server(id); s != nil && !s.Voter && st.caughtUp(s, PromoteWithin) {
				ready = append(ready, id)
			}
		}
		// The number may become even only if the next step makes it odd again: another
		// node is ready to become a voter, or a voter will be removed.
		if len(ready) >= 2 || len(ready) == 1 && (len(bad) > 0 || len(good)%2 == 0) {
			p.addVoter(MetaShard, v, ready[0], "the meta group needs "+strconv.Itoa(target)+" voters")
		}
	case len(bad) > 0:
		p.removeVoter(MetaShard, v, bad[0], good, "the voter is "+p.stateOf(bad[0]))
	case len(good) > target:
		p.removeVoter(MetaShard, v, p.spare(st, good), good, "the meta group needs an odd number of voters; the node becomes a non-voter")
	}
}

// holdsNothing reports whether the map assigns no replica to id, and the leader of every
// shard reports a configuration without it. As long as id is in a configuration, its
// vote may be needed to elect a leader.
func (p *planner) holdsNothing(id string) bool {
	return !slices.ContainsFunc(p.m.Shards, func(s Shard) bool {
		v := p.status(s.ID)
		return s.ShouldHost(id) || v == nil || v.Status.Server(id) != nil
	})
}
