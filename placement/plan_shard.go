package placement

import (
	"slices"
	"strconv"
)

// planShard plans at most one step for a data shard. The order matters: the map follows
// the nodes that are there, then the Raft configuration follows the map, and only when
// both are at rest does the leadership move.
func (p *planner) planShard(s *Shard) {
	v := p.status(s.ID)
	switch {
	case v == nil:
	case !s.Founded:
		p.propose(s.ID, "the shard has its first leader", "SHARD.FOUNDED", strconv.FormatUint(uint64(s.ID), 10))
	case p.fill(s):
	case p.drain(s, &v.Status):
	case p.settle(s, v):
	case p.evenReplicas(s, &v.Status):
	case p.evenLeaders(s, &v.Status):
	default:
		p.moveBack(s, v)
	}
}

// setReplicas plans to place the shard's replicas on the nodes ids.
func (p *planner) setReplicas(s *Shard, ids []string, why string) {
	for _, id := range s.Replicas {
		p.replicas[id]--
	}
	for _, id := range ids {
		p.replicas[id]++
	}
	argv := []string{"SHARD.REPLICAS", strconv.FormatUint(uint64(s.ID), 10), strconv.FormatUint(s.Version, 10)}
	p.propose(s.ID, why, append(argv, ids...)...)
}

// fill adds replicas to a shard that has fewer than desired, as far as there are nodes.
// It does not choose a node that gossip does not reach.
func (p *planner) fill(s *Shard) bool {
	ids := slices.Clone(s.Replicas)
	for len(ids) < p.m.Settings.Replicas {
		id := p.leastLoaded(ids)
		if id == "" {
			break
		}
		ids = append(ids, id)
	}
	if len(ids) == len(s.Replicas) {
		return false
	}
	p.setReplicas(s, ids, "nodes for more replicas have joined")
	return true
}

// leastLoaded returns the active node outside ids that has the fewest replicas in the
// map, or the first to join of several. Nodes that gossip does not reach are left out. If
// no node remains, it returns "".
func (p *planner) leastLoaded(ids []string) string {
	best := ""
	for _, id := range p.m.Active() {
		if p.w.Alive[id] && !slices.Contains(ids, id) && (best == "" || p.replicas[id] < p.replicas[best]) {
			best = id
		}
	}
	return best
}

// drain replaces one replica on a node that is leaving. A second one has to wait until the
// first has been replaced, so that a shard has at most one new replica at a time.
func (p *planner) drain(s *Shard, st *ShardStatus) bool {
	settled := isSettled(s, st)
	for i, id := range s.Replicas {
		if p.active(id) {
			continue
		}
		if old := st.Server(id); !settled && old != nil && old.Voter {
			continue
		}
		ids := slices.Clone(s.Replicas)
		if heir := p.leastLoaded(ids); heir != "" {
			ids[i] = heir
			p.setReplicas(s, ids, "node "+shortID(id)+" is "+p.stateOf(id))
			return true
		}
		// The shard may have one replica less only if no other active node exists. A node
		// that is merely unreachable at the moment is waited for.
		ids = slices.Delete(ids, i, i+1)
		outside := slices.ContainsFunc(p.m.Active(), func(a string) bool { return !slices.Contains(ids, a) })
		if !outside && slices.ContainsFunc(ids, p.active) {
			p.setReplicas(s, ids, "node "+shortID(id)+" is "+p.stateOf(id)+", and no other node can take its replica")
			return true
		}
	}
	return false
}

// isSettled reports whether the shard's Raft configuration matches the map: every member
// is a voter and every replica of the map is a member.
func isSettled(s *Shard, st *ShardStatus) bool {
	for i := range st.Servers {
		if !st.Servers[i].Voter || !s.HasReplica(st.Servers[i].ID) {
			return false
		}
	}
	return len(st.Servers) == len(s.Replicas)
}

// settle takes one step from the present Raft configuration towards the replicas of the
// map. A new replica is first a non-voter, then a voter; once all replicas of the map are
// voters, the other voters are removed one at a time.
func (p *planner) settle(s *Shard, v *ShardView) bool {
	st := &v.Status
	before := len(p.steps)
	for i := range st.Servers {
		if o := &st.Servers[i]; !o.Voter && !s.HasReplica(o.ID) {
			p.member(StepRemove, s.ID, st, o.ID, "the map does not want this non-voter")
			return true
		}
	}
	for _, id := range s.Replicas {
		if st.Server(id) == nil && p.w.Alive[id] {
			p.member(StepAddNonvoter, s.ID, st, id, "the map wants a replica on this node")
			return true
		}
	}
	all := true
	for _, id := range s.Replicas {
		if o := st.Server(id); o == nil || !o.Voter {
			all = false
			if p.addVoter(s.ID, v, id, "the replica has caught up") {
				return true
			}
		}
	}
	if !all {
		return false
	}
	var surplus []string
	for i := range st.Servers {
		if o := &st.Servers[i]; !s.HasReplica(o.ID) {
			surplus = append(surplus, o.ID)
		}
	}
	if len(surplus) == 0 {
		return false
	}
	heirs := s.Replicas
	if s.Preferred != "" {
		heirs = append([]string{s.Preferred}, heirs...)
	}
	p.removeVoter(s.ID, v, p.spare(st, surplus), heirs, "the map does not want this replica any more")
	return len(p.steps) > before
}

// evenReplicas moves a replica from a node to another that has at least two fewer, so that
// a node that has joined gets its share. With 12 replicas on nodes a, b, c and a new node
// d, three moves lead from 4, 4, 4, 0 to 3, 3, 3, 3. Each move makes the difference
// smaller, so the moves come to an end. Only one replica in the whole cluster moves at a
// time, because a move copies all data of the shard.
func (p *planner) evenReplicas(s *Shard, st *ShardStatus) bool {
	if p.moving || slices.ContainsFunc(st.Servers, func(o Server) bool { return !st.caughtUp(&o, PromoteWithin) }) {
		return false
	}
	to := p.leastLoaded(s.Replicas)
	if to == "" {
		return false
	}
	from := 0 // of nodes with the same number of replicas, one that does not lead
	for i, id := range s.Replicas {
		if best := s.Replicas[from]; p.replicas[id] > p.replicas[best] || p.replicas[id] == p.replicas[best] && best == s.Preferred {
			from = i
		}
	}
	if p.replicas[s.Replicas[from]] < p.replicas[to]+2 {
		return false
	}
	ids := slices.Clone(s.Replicas)
	ids[from] = to
	p.moving = true
	p.setReplicas(s, ids, "replicas are being spread evenly over the nodes")
	return true
}

// unsettled reports whether the shard's replicas differ from the map, or its leader has
// not answered.
func (p *planner) unsettled(s *Shard) bool {
	v := p.status(s.ID)
	return v == nil || !s.Founded || !isSettled(s, &v.Status)
}

// evenLeaders moves the preference for a shard's leader to a node that leads at least two
// shards fewer. Each move makes the difference smaller, so the moves come to an end.
func (p *planner) evenLeaders(s *Shard, st *ShardStatus) bool {
	best := ""
	for _, id := range s.Replicas {
		o := st.Server(id)
		if !p.active(id) || o == nil || !o.Voter || !st.caughtUp(o, PromoteWithin) {
			continue
		}
		if best == "" || p.preferred[id] < p.preferred[best] {
			best = id
		}
	}
	if best == "" || best == s.Preferred {
		return false
	}
	why := "leaders are being spread evenly over the nodes"
	if s.Preferred == "" || !p.active(s.Preferred) {
		why = "the shard had no active preferred leader"
	} else if p.preferred[s.Preferred] < p.preferred[best]+2 {
		return false
	}
	p.preferred[s.Preferred]--
	p.preferred[best]++
	p.propose(s.ID, why, "SHARD.PREFER", strconv.FormatUint(uint64(s.ID), 10), strconv.FormatUint(s.Version, 10), best)
	return true
}

// moveBack hands the leadership to the preferred replica once that replica has been caught
// up for a while.
func (p *planner) moveBack(s *Shard, v *ShardView) {
	id := s.Preferred
	if id == "" || id == v.Status.Leader || !v.PreferredSteady || !p.w.Alive[id] {
		return
	}
	if o := v.Status.Server(id); o != nil && o.Voter && v.Status.caughtUp(o, TransferWithin) {
		p.transfer(s.ID, v, id, "the preferred leader is healthy again")
	}
}
