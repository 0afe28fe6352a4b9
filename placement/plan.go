package placement

import (
	"slices"
	"strconv"
)

const (
	// PromoteWithin is how many log entries a replica may be behind its leader and still
	// be made a voter, or be counted on when another is removed. Healthy replicas under
	// full load are tens behind.
	PromoteWithin = 256
	// TransferWithin is how far behind a replica may be that is handed the leadership.
	// Writes wait while it catches up; one that does not make it in time leaves the
	// shard in trouble.
	TransferWithin = 64
)

// Server is a member of a shard's Raft configuration.
type Server struct {
	ID    string
	Voter bool
	// Answered says that the replica said just now, after Commit was read, how far it
	// is: LastIndex of its log, Applied to its state. The leader answers for itself.
	Answered           bool
	LastIndex, Applied uint64
}

// ShardStatus is what the leader of a shard says of it.
type ShardStatus struct {
	Leader      string
	Term        uint64
	Commit      uint64 // commit index, read before the replicas were asked
	ConfigIndex uint64 // log index of the configuration
	Servers     []Server
}

// Server returns the member with the ID, or nil.
func (s *ShardStatus) Server(id string) *Server {
	for i := range s.Servers {
		if s.Servers[i].ID == id {
			return &s.Servers[i]
		}
	}
	return nil
}

// upTo reports whether the member has answered and is at most within entries behind.
func (s *ShardStatus) upTo(v *Server, within uint64) bool {
	return v != nil && v.Answered && v.LastIndex+within >= s.Commit && v.Applied+within >= s.Commit
}

// voters counts the voters other than without, and those of them that can be counted on.
func (s *ShardStatus) voters(without string) (all, healthy int) {
	for i := range s.Servers {
		if v := &s.Servers[i]; v.Voter && v.ID != without {
			all++
			if s.upTo(v, PromoteWithin) {
				healthy++
			}
		}
	}
	return all, healthy
}

func majority(voters int) int { return voters/2 + 1 }

// ShardView is what the controller knows of a shard.
type ShardView struct {
	Status ShardStatus
	// PreferredSteady: the preferred leader has been healthy long enough to lead again.
	PreferredSteady bool
	// Rested: the shard's last transfer, if any, was long enough ago.
	Rested bool
}

// Observed is the world at one moment. A shard whose leader did not answer is not in
// Shards. Alive are the nodes that gossip reaches, this one included: a hint.
type Observed struct {
	Shards map[uint32]ShardView
	Alive  map[string]bool
}

// StepKind is what a step does.
type StepKind uint8

// The kinds of a step.
const (
	StepPropose     StepKind = iota + 1 // a command of the meta group: Argv
	StepAddNonvoter                     // add Node to the shard's configuration; it receives the log
	StepAddVoter                        // give Node, a non-voter, its vote
	StepRemove                          // take Node out of the configuration
	StepTransfer                        // hand the leadership to Node
)

var stepKinds = [...]string{
	StepPropose: "propose", StepAddNonvoter: "add non-voter", StepAddVoter: "add voter",
	StepRemove: "remove", StepTransfer: "transfer",
}

// String returns k in words.
func (k StepKind) String() string { return stepKinds[k] }

// Step is one thing to do. Membership steps hold for one configuration only: they are
// refused if it has changed since.
type Step struct {
	Kind        StepKind
	Shard       uint32 // whose step it is; a shard has at most one in a plan
	Node        string
	ConfigIndex uint64
	Argv        []string
	Why         string
}

// Plan returns the next steps that bring the world towards the map, and the map towards
// what its nodes allow: none when all is as it should be, or nothing is safe to do.
// At most one step for a shard, and at most one leadership transfer in all. The steps
// may be taken in any order, also at the same time; any of them may fail.
//
// What makes a step safe: a replica is given a vote only once it has caught up, and
// only when that leaves a majority of healthy voters; a voter is removed only when all
// wanted replicas vote and a majority of the rest is healthy; each for the very
// configuration that was looked at. Nothing is removed because it does not answer.
func Plan(m *Map, w Observed) []Step {
	if m == nil {
		return nil
	}
	p := &planner{m: m, w: w, replicas: make(map[string]int), preferred: preferredCounts(m)}
	for i := range m.Shards {
		for _, id := range m.Shards[i].Replicas {
			p.replicas[id]++
		}
	}
	p.moving = slices.ContainsFunc(m.Shards, func(s Shard) bool { return p.unsettled(&s) })
	p.planMeta()
	for i := range m.Shards {
		p.planShard(&m.Shards[i])
	}
	return p.steps
}

// planner is one plan in the making.
type planner struct {
	m     *Map
	w     Observed
	steps []Step
	// replicas and preferred count, per node, what the map wants there, with the steps
	// so far taken as done: so that the steps of one plan spread, too.
	replicas, preferred map[string]int
	transferring        bool
	moving              bool // a replica is on its way to another node, or may be
}

func (p *planner) propose(shard uint32, why string, argv ...string) {
	p.steps = append(p.steps, Step{Kind: StepPropose, Shard: shard, Argv: argv, Why: why})
}

func (p *planner) member(kind StepKind, shard uint32, st *ShardStatus, node, why string) {
	p.steps = append(p.steps, Step{Kind: kind, Shard: shard, Node: node, ConfigIndex: st.ConfigIndex, Why: why})
}

// transfer plans a transfer unless another is planned or the shard had one just now.
func (p *planner) transfer(shard uint32, v *ShardView, node, why string) {
	if p.transferring || !v.Rested {
		return
	}
	p.transferring = true
	p.steps = append(p.steps, Step{Kind: StepTransfer, Shard: shard, Node: node, Why: why})
}

// status returns what is known of a shard, or nil when its leader is not.
func (p *planner) status(shard uint32) *ShardView {
	v, ok := p.w.Shards[shard]
	if !ok {
		return nil
	}
	if l := v.Status.Server(v.Status.Leader); l == nil || !l.Voter {
		return nil // it is stepping down, or was removed
	}
	return &v
}

// active reports whether id is a node that replicas are given to.
func (p *planner) active(id string) bool {
	n := p.m.Node(id)
	return n != nil && n.State == Active
}

// removeVoter plans to remove the voter id, or first to move the leadership off it to
// the best of heirs. It plans nothing when a majority of the rest is not healthy.
func (p *planner) removeVoter(shard uint32, v *ShardView, id string, heirs []string, why string) {
	st := &v.Status
	all, healthy := st.voters(id)
	if all == 0 || healthy < majority(all) {
		return
	}
	if id != st.Leader {
		p.member(StepRemove, shard, st, id, why)
		return
	}
	for _, h := range heirs {
		if s := st.Server(h); h != id && s != nil && s.Voter && st.upTo(s, TransferWithin) {
			p.transfer(shard, v, h, why+": it leads, another must first")
			return
		}
	}
}

// addVoter plans to give id its vote, if it has caught up and the voters with it will
// have a healthy majority. It reports whether it did.
func (p *planner) addVoter(shard uint32, v *ShardView, id, why string) bool {
	st := &v.Status
	all, healthy := st.voters("")
	if !st.upTo(st.Server(id), PromoteWithin) || healthy+1 < majority(all+1) {
		return false
	}
	p.member(StepAddVoter, shard, st, id, why)
	return true
}

// planMeta: the shards, once enough nodes are there; then the meta group's members. A
// plan has one or the other: there is no hurry.
func (p *planner) planMeta() {
	active := p.m.Active()
	if len(p.m.Shards) == 0 && len(active) >= p.m.Settings.Expect {
		p.propose(MetaShard, "the expected nodes are there",
			"SHARDS.CREATE", strconv.FormatUint(p.m.Version, 10))
		return
	}
	v := p.status(MetaShard)
	if v == nil {
		return
	}
	st := &v.Status
	var good, bad []string // voters to keep, and not
	for i := range st.Servers {
		s := &st.Servers[i]
		n := p.m.Node(s.ID)
		switch {
		case s.Voter && n != nil && n.State == Active:
			good = append(good, s.ID)
		case s.Voter:
			bad = append(bad, s.ID)
		case n == nil || n.State == Removed:
			p.member(StepRemove, MetaShard, st, s.ID, "it is no node of the cluster")
			return
		}
	}
	// A node that was told to leave, has nothing left to keep, and is gone.
	for _, id := range p.m.joined(func(n *Node) bool { return n.State == Draining && !p.w.Alive[n.ID] }) {
		if s := st.Server(id); (s == nil || !s.Voter) && p.ridOf(id) {
			p.propose(MetaShard, "it was to leave, and is gone", "NODE.STATE", id, Removed.String())
			return
		}
	}
	// Every node keeps the map: those without a vote first, so that a newcomer learns it.
	for _, id := range p.m.joined(func(n *Node) bool { return n.State != Removed }) {
		if st.Server(id) == nil && p.w.Alive[id] {
			p.member(StepAddNonvoter, MetaShard, st, id, "every node keeps the map")
			return
		}
	}
	// An odd number of voters: an even one survives no more losses than the one below.
	target := min(len(active), MaxMetaVoters)
	target -= 1 - target%2
	if len(good) < target {
		var ready []string
		for _, id := range active {
			if s := st.Server(id); s != nil && !s.Voter && st.upTo(s, PromoteWithin) {
				ready = append(ready, id)
			}
		}
		// An even number is passed through only when the next is ready, too, or when
		// a voter will be removed after.
		if len(ready) >= 2 || len(ready) == 1 && (len(bad) > 0 || len(good)%2 == 0) {
			p.addVoter(MetaShard, v, ready[0], "the meta group wants "+strconv.Itoa(target)+" voters")
		}
		return
	}
	if len(bad) > 0 {
		p.removeVoter(MetaShard, v, bad[0], good, "it is "+p.stateOf(bad[0]))
		return
	}
	if len(good) > target {
		p.removeVoter(MetaShard, v, p.spare(st, good), good, "the meta group wants an odd number of voters; it will be a non-voter")
	}
}

// ridOf reports whether the map wants nothing at id any more, and every shard's leader
// says that it has no replica there: one that still counts may be needed to elect one.
func (p *planner) ridOf(id string) bool {
	return !slices.ContainsFunc(p.m.Shards, func(s Shard) bool {
		v := p.status(s.ID)
		return s.ShouldHost(id) || v == nil || v.Status.Server(id) != nil
	})
}

func (p *planner) stateOf(id string) string {
	if n := p.m.Node(id); n != nil {
		return n.State.String()
	}
	return "no node of the cluster"
}

// spare returns the voter that is missed least: one that is behind, else the one that
// joined last; not the leader.
func (p *planner) spare(st *ShardStatus, voters []string) string {
	less := func(a, b string) bool { // a is missed less than b
		if (a == st.Leader) != (b == st.Leader) {
			return b == st.Leader
		}
		if x, y := st.upTo(st.Server(a), PromoteWithin), st.upTo(st.Server(b), PromoteWithin); x != y {
			return y
		}
		return p.joined(a) > p.joined(b)
	}
	return slices.MinFunc(voters, func(a, b string) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
}

// joined is when id joined; what is no node joined after all that are.
func (p *planner) joined(id string) uint64 {
	if n := p.m.Node(id); n != nil {
		return n.Joined
	}
	return 1<<64 - 1
}
