package placement

import (
	"slices"
	"strconv"
)

// planShard plans at most one step for a data shard. The order matters: first the map
// is told what the nodes allow, then Raft's configuration follows the map, and only
// when that stands still does the leadership move.
func (p *planner) planShard(s *Shard) {
	v := p.status(s.ID)
	switch {
	case v == nil:
	case !s.Founded:
		p.propose(s.ID, "it has a leader", "SHARD.FOUNDED", strconv.FormatUint(uint64(s.ID), 10))
	case p.fill(s):
	case p.drain(s, &v.Status):
	case p.settle(s, v):
	case p.even(s, &v.Status):
	case p.prefer(s, &v.Status):
	default:
		p.moveBack(s, v)
	}
}

// setReplicas plans that the shard's replicas belong at ids.
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

// fill gives a shard with too few replicas more, as far as there are nodes. A node that
// gossip does not reach is not chosen.
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
	p.setReplicas(s, ids, "there are nodes for more replicas")
	return true
}

// leastLoaded returns the active node outside ids that the fewest replicas belong to,
// the first to join of equals; none if there is none that gossip reaches.
func (p *planner) leastLoaded(ids []string) string {
	best := ""
	for _, id := range p.m.Active() {
		if p.w.Alive[id] && !slices.Contains(ids, id) && (best == "" || p.replicas[id] < p.replicas[best]) {
			best = id
		}
	}
	return best
}

// drain replaces one replica at a node that is leaving. The one before must have been
// replaced first, so that no more than one replica of a shard is new at a time.
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
		// Without a replica in its place only if no node could ever take one: one
		// that is merely not reached now is waited for.
		ids = slices.Delete(ids, i, i+1)
		outside := slices.ContainsFunc(p.m.Active(), func(a string) bool { return !slices.Contains(ids, a) })
		if !outside && slices.ContainsFunc(ids, p.active) {
			p.setReplicas(s, ids, "node "+shortID(id)+" is "+p.stateOf(id)+", and there is no other")
			return true
		}
	}
	return false
}

// isSettled reports whether the shard's configuration is what the map wants.
func isSettled(s *Shard, st *ShardStatus) bool {
	for i := range st.Servers {
		if !st.Servers[i].Voter || !s.HasReplica(st.Servers[i].ID) {
			return false
		}
	}
	return len(st.Servers) == len(s.Replicas)
}

// settle takes one step from the configuration that is to the replicas wanted:
// non-voter, voter, and when all wanted ones vote, the others go.
func (p *planner) settle(s *Shard, v *ShardView) bool {
	st := &v.Status
	before := len(p.steps)
	for i := range st.Servers {
		if o := &st.Servers[i]; !o.Voter && !s.HasReplica(o.ID) {
			p.member(StepRemove, s.ID, st, o.ID, "a non-voter that is not wanted")
			return true
		}
	}
	for _, id := range s.Replicas {
		if st.Server(id) == nil && p.w.Alive[id] {
			p.member(StepAddNonvoter, s.ID, st, id, "a replica is wanted there")
			return true
		}
	}
	all := true
	for _, id := range s.Replicas {
		if o := st.Server(id); o == nil || !o.Voter {
			all = false
			if p.addVoter(s.ID, v, id, "it has caught up") {
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
	p.removeVoter(s.ID, v, p.spare(st, surplus), heirs, "its replica is not wanted any more")
	return len(p.steps) > before
}

// even spreads the replicas over the nodes, so that one that has joined takes its part:
// from a node that has two more than another that could take it. Each such step makes the
// spread smaller, so they end. One replica moves at a time in the whole cluster: each is a
// copy of all that the shard holds.
func (p *planner) even(s *Shard, st *ShardStatus) bool {
	if p.moving || slices.ContainsFunc(st.Servers, func(o Server) bool { return !st.upTo(&o, PromoteWithin) }) {
		return false
	}
	to := p.leastLoaded(s.Replicas)
	if to == "" {
		return false
	}
	from := 0 // of equals one that does not lead
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
	p.setReplicas(s, ids, "replicas are spread over the nodes")
	return true
}

// unsettled reports whether a shard's replicas are not where the map wants them, or
// nobody knows.
func (p *planner) unsettled(s *Shard) bool {
	v := p.status(s.ID)
	return v == nil || !s.Founded || !isSettled(s, &v.Status)
}

// prefer spreads the preferred leaders over the nodes: from one that has two more than
// another that could take it. Each such step makes the spread smaller, so they end.
func (p *planner) prefer(s *Shard, st *ShardStatus) bool {
	best := ""
	for _, id := range s.Replicas {
		o := st.Server(id)
		if !p.active(id) || o == nil || !o.Voter || !st.upTo(o, PromoteWithin) {
			continue
		}
		if best == "" || p.preferred[id] < p.preferred[best] {
			best = id
		}
	}
	if best == "" || best == s.Preferred {
		return false
	}
	why := "leaders are spread over the nodes"
	if s.Preferred == "" || !p.active(s.Preferred) {
		why = "no active node was preferred"
	} else if p.preferred[s.Preferred] < p.preferred[best]+2 {
		return false
	}
	p.preferred[s.Preferred]--
	p.preferred[best]++
	p.propose(s.ID, why, "SHARD.PREFER", strconv.FormatUint(uint64(s.ID), 10), strconv.FormatUint(s.Version, 10), best)
	return true
}

// moveBack hands the leadership to the preferred replica once that has been well for a
// while.
func (p *planner) moveBack(s *Shard, v *ShardView) {
	id := s.Preferred
	if id == "" || id == v.Status.Leader || !v.PreferredSteady || !p.w.Alive[id] {
		return
	}
	if o := v.Status.Server(id); o != nil && o.Voter && v.Status.upTo(o, TransferWithin) {
		p.transfer(s.ID, v, id, "it is preferred, and well again")
	}
}
