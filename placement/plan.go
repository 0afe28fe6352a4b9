package placement

import "slices"

const (
	// PromoteWithin is the greatest number of log records that a replica may be behind its
	// leader when it becomes a voter, or counts as healthy when another voter is removed.
	// Healthy replicas are tens of records behind under full load.
	PromoteWithin = 256
	// TransferWithin is the greatest number of log records that a replica may be behind
	// when it takes over the leadership. Writes wait while it catches up, and a transfer
	// that does not finish in time can leave the shard stuck.
	TransferWithin = 64
)

// Server is a member of a shard's Raft configuration.
type Server struct {
	ID    string
	Voter bool
	// Answered says that the replica has reported LastIndex, the last index of its log, and
	// Applied, the last index in its state, after Commit was read. It is always true for
	// the leader.
	Answered           bool
	LastIndex, Applied uint64
}

// ShardStatus is the report of a shard's leader.
type ShardStatus struct {
	Leader      string
	Term        uint64
	Commit      uint64 // commit index, read before the replicas were asked
	ConfigIndex uint64 // log index of the configuration
	Servers     []Server
}

// Server returns the member with the given ID, or nil.
func (s *ShardStatus) Server(id string) *Server {
	for i := range s.Servers {
		if s.Servers[i].ID == id {
			return &s.Servers[i]
		}
	}
	return nil
}

// caughtUp reports whether the member has answered and is at most within records behind.
func (s *ShardStatus) caughtUp(v *Server, within uint64) bool {
	return v != nil && v.Answered && v.LastIndex+within >= s.Commit && v.Applied+within >= s.Commit
}

// voters counts the voters other than without, and the healthy ones among them.
func (s *ShardStatus) voters(without string) (all, healthy int) {
	for i := range s.Servers {
		if v := &s.Servers[i]; v.Voter && v.ID != without {
			all++
			if s.caughtUp(v, PromoteWithin) {
				healthy++
			}
		}
	}
	return all, healthy
}

func majority(voters int) int { return voters/2 + 1 }

// ShardView is the controller's knowledge of a shard.
type ShardView struct {
	Status ShardStatus
	// PreferredSteady says that the preferred leader has been healthy for long enough to
	// lead again.
	PreferredSteady bool
	// Rested says that no transfer of the shard was tried recently.
	Rested bool
}

// Observed is the state of the cluster at one moment. Shards has no entry for a shard
// whose leader did not answer. Alive holds the nodes that gossip reaches, this node
// included; it is a hint.
type Observed struct {
	Shards map[uint32]ShardView
	Alive  map[string]bool
}

// StepKind is the kind of a step.
type StepKind uint8

// The kinds of steps.
const (
	StepPropose     StepKind = iota + 1 // propose Argv to the meta group
	StepAddNonvoter                     // add Node to the shard's configuration as a non-voter, which receives the log
	StepAddVoter                        // make Node, a non-voter, a voter
	StepRemove                          // remove Node from the configuration
	StepTransfer                        // hand the leadership to Node
)

var stepKinds = [...]string{
	StepPropose: "propose", StepAddNonvoter: "add non-voter", StepAddVoter: "add voter",
	StepRemove: "remove", StepTransfer: "transfer",
}

// String returns the name of k for logs.
func (k StepKind) String() string { return stepKinds[k] }

// Step is one action of a plan. A membership step is valid for one Raft configuration: it
// is refused if ConfigIndex is not the index of the shard's present configuration.
type Step struct {
	Kind        StepKind
	Shard       uint32 // the shard it belongs to; a plan has at most one step for each
	Node        string
	ConfigIndex uint64
	Argv        []string
	Why         string
}

// Plan returns the next steps that bring the cluster closer to the map, and the map closer
// to the nodes that are there. The plan is empty if nothing remains to do or no step is
// safe. It has at most one step for each shard and at most one leadership transfer in all.
// The steps may be taken in any order or at the same time, and any of them may fail.
//
// These rules make the steps safe:
//
//   - A replica becomes a voter only once it has caught up, and only if a majority of the
//     voters, itself included, is then healthy.
//   - A voter is removed only when all replicas of the map are voters and a majority of
//     the remaining voters is healthy.
//   - Both are valid only for the configuration that was observed.
//   - A replica is never removed because it does not answer.
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

// planner builds one plan.
type planner struct {
	m     *Map
	w     Observed
	steps []Step
	// replicas and preferred count the replicas and preferred leaderships of each node in
	// the map. They include the steps planned so far, so that one plan spreads its own
	// steps as well.
	replicas, preferred map[string]int
	transferring        bool
	moving              bool // a replica is moving to another node, or may be
}

func (p *planner) propose(shard uint32, why string, argv ...string) {
	p.steps = append(p.steps, Step{Kind: StepPropose, Shard: shard, Argv: argv, Why: why})
}

func (p *planner) member(kind StepKind, shard uint32, st *ShardStatus, node, why string) {
	p.steps = append(p.steps, Step{Kind: kind, Shard: shard, Node: node, ConfigIndex: st.ConfigIndex, Why: why})
}

// transfer plans a transfer, unless the plan has one already or the shard had one recently.
func (p *planner) transfer(shard uint32, v *ShardView, node, why string) {
	if p.transferring || !v.Rested {
		return
	}
	p.transferring = true
	p.steps = append(p.steps, Step{Kind: StepTransfer, Shard: shard, Node: node, Why: why})
}

// status returns the view of a shard, or nil if its leader is unknown.
func (p *planner) status(shard uint32) *ShardView {
	v, ok := p.w.Shards[shard]
	if !ok {
		return nil
	}
	if l := v.Status.Server(v.Status.Leader); l == nil || !l.Voter {
		return nil // the leader is stepping down or has been removed
	}
	return &v
}

// active reports whether id is a node that can be given replicas.
func (p *planner) active(id string) bool {
	n := p.m.Node(id)
	return n != nil && n.State == Active
}

// removeVoter plans to remove the voter id. If id leads, it plans a transfer to the first
// suitable node of heirs instead; a later plan then removes id. It plans nothing unless a
// majority of the remaining voters is healthy.
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
		if s := st.Server(h); h != id && s != nil && s.Voter && st.caughtUp(s, TransferWithin) {
			p.transfer(shard, v, h, why+"; it leads, so another replica takes over first")
			return
		}
	}
}

// addVoter plans to make id a voter, if id has caught up and a majority of the voters
// including id is then healthy. It reports whether it planned the step.
func (p *planner) addVoter(shard uint32, v *ShardView, id, why string) bool {
	st := &v.Status
	all, healthy := st.voters("")
	if !st.caughtUp(st.Server(id), PromoteWithin) || healthy+1 < majority(all+1) {
		return false
	}
	p.member(StepAddVoter, shard, st, id, why)
	return true
}

func (p *planner) stateOf(id string) string {
	if n := p.m.Node(id); n != nil {
		return n.State.String()
	}
	return "not a node of the cluster"
}

// spare returns the voter that can best be spared: one that has not caught up, otherwise
// the one that joined last. The leader comes last of all.
func (p *planner) spare(st *ShardStatus, voters []string) string {
	less := func(a, b string) bool { // a can be spared rather than b
		if (a == st.Leader) != (b == st.Leader) {
			return b == st.Leader
		}
		if x, y := st.caughtUp(st.Server(a), PromoteWithin), st.caughtUp(st.Server(b), PromoteWithin); x != y {
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

// joined returns the place of id in the order of joining. An ID that is not in the map
// comes last.
func (p *planner) joined(id string) uint64 {
	if n := p.m.Node(id); n != nil {
		return n.Joined
	}
	return 1<<64 - 1
}
