package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world simulates a cluster: each shard has a configuration, a leader, and replicas that
// are some number of records behind. It takes steps as Raft would, and records each step
// that was not safe. Its methods lock it, because the controller calls them from several
// goroutines.
type world struct {
	mu      sync.Mutex
	meta    *meta
	alive   map[string]bool
	shards  map[uint32]*simShard
	wrong   []string // unsafe steps
	late    bool     // steps come from an old plan, so unsafe ones are not recorded
	term    uint64
	asked   int // number of statuses asked for
	moving  int // transfers under way
	moved   []time.Time
	stepped int

	transferTime time.Duration // how long a transfer takes
}

type simShard struct {
	voters, nonvoters []string
	leader            string
	config            uint64
	behind            map[string]uint64 // records
}

func newWorld(t fataler, shards, replicas, expect int, first string) *world {
	w := &world{meta: newMeta(), alive: map[string]bool{id(first): true}, shards: map[uint32]*simShard{}}
	w.meta.must(t, slices.Concat([]string{"FOUND", clusterID, fmt.Sprint(shards), fmt.Sprint(replicas), fmt.Sprint(expect), id(first)}, addrs(first))...)
	w.shards[MetaShard] = &simShard{voters: ids(first), leader: id(first), config: 1, behind: map[string]uint64{}}
	return w
}

func (w *world) join(n string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[id(n)] = true
	_, err := w.command(slices.Concat([]string{"NODE.JOIN", clusterID, id(n)}, addrs(n)))
	return err
}

func (w *world) setAlive(n string, alive bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[n] = alive
	w.elect()
}

// command runs a command of the meta group, which must have a leader.
func (w *world) command(argv []string) (string, error) {
	if w.shards[MetaShard].leader == "" {
		return "", errors.New("the meta group has no leader")
	}
	v, err := w.meta.apply(argv...)
	if err != nil {
		return "", err
	}
	if v.IsErr() {
		return "", errors.New(string(v.Str))
	}
	for _, s := range w.meta.Map().Shards { // the founders of a new shard start it
		if w.shards[s.ID] == nil {
			w.shards[s.ID] = &simShard{voters: slices.Clone(s.Founders), config: 1, behind: map[string]uint64{}}
		}
	}
	w.elect()
	return "", nil
}

// elect ends the leaderships that have lost their majority, and elects a leader wherever a
// majority is alive: the living voter that is least behind.
func (w *world) elect() {
	for _, s := range w.shards {
		var up []string
		for _, v := range s.voters {
			if w.alive[v] {
				up = append(up, v)
			}
		}
		if len(up) < majority(len(s.voters)) {
			s.leader = ""
			continue
		}
		if slices.Contains(up, s.leader) {
			continue
		}
		s.leader = slices.MinFunc(up, func(a, b string) int { return int(s.behind[a]) - int(s.behind[b]) })
		s.behind[s.leader] = 0
		s.config++
		w.term++
	}
}

// tick lets time pass: living replicas catch up, dead ones fall behind.
func (w *world) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.shards {
		for _, v := range slices.Concat(s.voters, s.nonvoters) {
			switch {
			case s.leader == v:
				s.behind[v] = 0
			case w.alive[v] && s.leader != "":
				s.behind[v] /= 4
			default:
				s.behind[v] += 500
			}
		}
	}
}

// Map implements World, as do the exported methods below.
func (w *world) Map() *Map { return w.meta.Map() }

func (w *world) Members() []Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ms []Member
	for n, alive := range w.alive {
		ms = append(ms, Member{n, alive})
	}
	return ms
}

func (w *world) ShardStatus(_ context.Context, shard uint32) (ShardStatus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	s := w.shards[shard]
	if s == nil || s.leader == "" {
		return ShardStatus{}, errors.New("no leader")
	}
	st := ShardStatus{Leader: s.leader, Term: w.term, Commit: 1 << 20, ConfigIndex: s.config}
	for i, id := range slices.Concat(s.voters, s.nonvoters) {
		v := Server{ID: id, Voter: i < len(s.voters), Answered: w.alive[id]}
		if v.Answered {
			v.LastIndex = st.Commit - min(s.behind[id], st.Commit)
			v.Applied = v.LastIndex
		}
		st.Servers = append(st.Servers, v)
	}
	return st, nil
}

func (w *world) Propose(_ context.Context, argv []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stepped++
	if refusal, ok := Check(byteWords(argv)); !ok {
		w.wrongf("proposes %v: %s", argv, refusal.Str)
	}
	_, err := w.command(argv)
	return err
}

func byteWords(argv []string) [][]byte {
	out := make([][]byte, len(argv))
	for i, a := range argv {
		out[i] = []byte(a)
	}
	return out
}

func (w *world) wrongf(format string, args ...any) {
	if w.late {
		return
	}
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// change changes a configuration as Raft does, and then checks that it is safe.
func (w *world) change(shard uint32, config uint64, what string, f func(s *simShard)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stepped++
	s := w.shards[shard]
	if s.leader == "" || config != s.config || config == 0 {
		return errors.New("not the leader, or the configuration has changed")
	}
	before := slices.Clone(s.voters)
	f(s)
	s.config++
	healthy := 0
	for _, v := range s.voters {
		if w.alive[v] && s.behind[v] <= PromoteWithin {
			healthy++
		}
	}
	if !slices.Equal(before, s.voters) && healthy < majority(len(s.voters)) {
		w.wrongf("shard %d, %s: of voters %q then %q only %d healthy", shard, what, names(before), names(s.voters), healthy)
	}
	w.elect()
	return nil
}

func (w *world) AddNonvoter(_ context.Context, shard uint32, node string, config uint64) error {
	return w.change(shard, config, "add non-voter "+name(node), func(s *simShard) {
		if slices.Contains(s.voters, node) || slices.Contains(s.nonvoters, node) {
			w.wrongf("shard %d: %s is a member already", shard, name(node))
		}
		if n := w.meta.Map().Node(node); n == nil || n.State == Removed {
			w.wrongf("shard %d: %s becomes a member, but is not a node", shard, name(node))
		}
		s.nonvoters = append(s.nonvoters, node)
		s.behind[node] = 5000
	})
}

func (w *world) AddVoter(_ context.Context, shard uint32, node string, config uint64) error {
	return w.change(shard, config, "add voter "+name(node), func(s *simShard) {
		if i := slices.Index(s.nonvoters, node); i < 0 || !w.alive[node] || s.behind[node] > PromoteWithin {
			w.wrongf("shard %d: %s gets a vote, alive %t, %d behind", shard, name(node), w.alive[node], s.behind[node])
		}
		s.nonvoters = slices.DeleteFunc(s.nonvoters, func(v string) bool { return v == node })
		s.voters = append(s.voters, node)
	})
}

func (w *world) Remove(_ context.Context, shard uint32, node string, config uint64) error {
	return w.change(shard, config, "remove "+name(node), func(s *simShard) {
		if i := slices.Index(s.nonvoters, node); i >= 0 {
			s.nonvoters = slices.Delete(s.nonvoters, i, i+1)
			return
		}
		if m := w.meta.Map().Shard(shard); m != nil {
			if m.HasReplica(node) {
				w.wrongf("shard %d: %s is removed, but the map wants it", shard, name(node))
			}
			for _, r := range m.Replicas {
				if !slices.Contains(s.voters, r) {
					w.wrongf("shard %d: %s is removed before %s is a voter", shard, name(node), name(r))
				}
			}
		}
		if node == s.leader {
			w.wrongf("shard %d: its leader %s is removed", shard, name(node))
		}
		s.voters = slices.DeleteFunc(s.voters, func(v string) bool { return v == node })
	})
}

func (w *world) Transfer(ctx context.Context, shard uint32, node string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stepped++
	s := w.shards[shard]
	if s.leader == "" {
		return errors.New("no leader")
	}
	if !slices.Contains(s.voters, node) || !w.alive[node] || s.behind[node] > TransferWithin {
		w.wrongf("shard %d: led by %s, which is %d behind, of voters %q", shard, name(node), s.behind[node], names(s.voters))
	}
	if w.moving++; w.moving > 1 {
		w.wrongf("shard %d: a second transfer at the same time", shard)
	}
	w.mu.Unlock()
	if w.transferTime > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(w.transferTime):
		}
	}
	w.mu.Lock()
	w.moving--
	w.moved = append(w.moved, time.Now())
	s.leader = node
	w.term++
	return nil
}

// counts returns how many statuses were asked for and how many steps were tried.
func (w *world) counts() (asked, stepped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked, w.stepped
}

// transfers returns the times of the transfers since its last call.
func (w *world) transfers() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.moved
	w.moved = nil
	return moved
}

// look returns the controller's observation. rested says that there were no transfers and no
// failures for a while.
func (w *world) look(rested bool) Observed {
	o := Observed{Shards: map[uint32]ShardView{}, Alive: map[string]bool{}}
	for _, m := range w.Members() {
		o.Alive[m.ID] = m.Alive
	}
	for shard := range w.shards {
		if st, err := w.ShardStatus(context.Background(), shard); err == nil {
			o.Shards[shard] = ShardView{Status: st, PreferredSteady: rested, Rested: rested}
		}
	}
	return o
}

// settled returns the first difference between the cluster and its map as an error, or nil.
func (w *world) settled() error {
	m := w.Map()
	active := m.Active()
	counts := preferredCounts(m)
	for _, s := range m.Shards {
		sim := w.shards[s.ID]
		got, want := slices.Sorted(slices.Values(sim.voters)), slices.Sorted(slices.Values(s.Replicas))
		switch {
		case !s.Founded:
			return fmt.Errorf("shard %d is not founded", s.ID)
		case !slices.Equal(got, want) || len(sim.nonvoters) > 0:
			return fmt.Errorf("shard %d at %q and %q, wanted at %q", s.ID, names(sim.voters), names(sim.nonvoters), names(s.Replicas))
		case len(s.Replicas) != min(m.Settings.Replicas, len(active)):
			return fmt.Errorf("shard %d has %d replicas on %d active nodes", s.ID, len(s.Replicas), len(active))
		case sim.leader != s.Preferred:
			return fmt.Errorf("shard %d is led by %s, not by %s", s.ID, name(sim.leader), name(s.Preferred))
		}
		for _, r := range s.Replicas {
			if !slices.Contains(active, r) {
				return fmt.Errorf("shard %d is still at %s", s.ID, name(r))
			}
			if counts[s.Preferred] > counts[r]+1 {
				return fmt.Errorf("shard %d prefers %s, which leads %d, to %s, which leads %d", s.ID, name(s.Preferred), counts[s.Preferred], name(r), counts[r])
			}
		}
	}
	replicas := map[string]int{}
	for _, s := range m.Shards {
		for _, r := range s.Replicas {
			replicas[r]++
		}
	}
	if len(active) > 0 && spread(replicas, active) > 1 {
		return fmt.Errorf("replicas are not spread: %v", replicas)
	}
	meta := w.shards[MetaShard]
	if n := len(meta.voters); n != min(len(active), MaxMetaVoters)-(1-min(len(active), MaxMetaVoters)%2) {
		return fmt.Errorf("the meta group has %d voters of %d active nodes", n, len(active))
	}
	for _, v := range meta.voters {
		if !slices.Contains(active, v) {
			return fmt.Errorf("%s votes in the meta group", name(v))
		}
	}
	for _, n := range m.Nodes {
		if member := slices.Contains(meta.voters, n.ID) || slices.Contains(meta.nonvoters, n.ID); member != (n.State != Removed) {
			return fmt.Errorf("node %s is %s; member of the meta group: %t", name(n.ID), n.State, member)
		}
	}
	return nil
}

// hasVote reports whether a node votes anywhere.
func (w *world) hasVote(n string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.shards {
		if slices.Contains(s.voters, n) {
			return true
		}
	}
	return false
}

// TestPlanConverges has nodes join, die, return and leave in any order, while steps are
// taken, fail, or come late from an old plan. No step may be unsafe. Once all nodes are back
// and nothing disturbs them, the cluster must settle and stay as it is.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &simRun{T: t, world: newWorldFor(t)}
		for range rapid.IntRange(10, 80).Draw(t, "rounds") {
			r.disturb()
			r.tick()
			old := r.plan
			r.plan = Plan(r.Map(), r.look(rapid.Bool().Draw(t, "rested")))
			r.checkPlan()
			r.takeSome()
			if rapid.IntRange(0, 3).Draw(t, "late") == 0 {
				r.takeLate(old)
			}
		}
		r.converge()
	})
}

// simRun is one run of TestPlanConverges.
type simRun struct {
	*rapid.T
	*world
	plan []Step
}

// disturb has a node join, die, return or change its state, or does nothing.
func (r *simRun) disturb() {
	m := r.Map()
	pick := func() string { return rapid.SampledFrom(m.Nodes).Draw(r.T, "node").ID }
	switch rapid.IntRange(0, 9).Draw(r.T, "event") {
	case 0, 1:
		if len(m.Nodes) < 8 {
			_ = r.join(string(rune('b' + len(m.Nodes))))
		}
	case 2:
		r.setAlive(pick(), false)
	case 3, 4:
		if n := pick(); m.Node(n).State != Removed {
			r.setAlive(n, true)
		}
	case 5:
		n, state := pick(), rapid.SampledFrom([]string{"draining", "active", "removed"}).Draw(r.T, "state")
		// A node may be removed only if it votes nowhere, which the map cannot check.
		if state != "removed" || !r.hasVote(n) {
			if r.Propose(context.Background(), []string{"NODE.STATE", n, state}) == nil && state == "removed" {
				r.setAlive(n, false)
			}
		}
	}
}

// checkPlan fails the run if the plan has two steps for one shard, or two transfers.
func (r *simRun) checkPlan() {
	seen := make(map[uint32]bool)
	transfers := 0
	for _, s := range r.plan {
		if seen[s.Shard] {
			r.Fatalf("two steps for shard %d: %s", s.Shard, shorts(r.plan))
		}
		seen[s.Shard] = true
		if s.Kind == StepTransfer {
			transfers++
		}
	}
	if transfers > 1 {
		r.Fatalf("%d transfers: %s", transfers, shorts(r.plan))
	}
}

// takeSome takes about three of four steps of the plan, in any order.
func (r *simRun) takeSome() {
	for _, s := range rapid.Permutation(r.plan).Draw(r.T, "order") {
		if rapid.IntRange(0, 3).Draw(r.T, "fails") > 0 {
			r.take(s)
		}
	}
	r.checkSafe("after a plan")
}

// takeLate takes steps of an older plan, as a controller does that has been replaced. It
// leaves out steps that the shard's leader itself would refuse, because it does not reach
// the node that is to become a voter or the leader.
func (r *simRun) takeLate(old []Step) {
	r.late = true
	for _, s := range old {
		if s.Kind != StepTransfer && (s.Kind != StepAddVoter || r.alive[s.Node]) {
			r.take(s)
		}
	}
	r.late = false
}

// take takes a step. A refusal is no failure of the run, because the next plan sees it.
func (r *simRun) take(s Step) {
	c := Controller{world: r.world}
	_ = c.take(context.Background(), s)
}

// checkSafe fails the run if a step was not safe.
func (r *simRun) checkSafe(when string) {
	if len(r.wrong) > 0 {
		r.Fatalf("%s: %s\n%s", when, r.wrong[0], r.Map())
	}
}

// converge brings all nodes back and takes every step of every plan until the cluster has
// settled, which it must.
func (r *simRun) converge() {
	for _, n := range r.Map().Nodes {
		if n.State != Removed {
			r.setAlive(n.ID, true)
		}
	}
	for range 600 {
		r.tick()
		r.elect()
		r.plan = Plan(r.Map(), r.look(true))
		for _, s := range r.plan {
			r.take(s)
		}
		r.checkSafe("in the end")
		if len(r.plan) == 0 && r.settled() == nil {
			break
		}
	}
	if err := r.settled(); err != nil || len(r.plan) > 0 {
		r.Fatalf("does not settle: %v; next: %s\n%s", err, shorts(r.plan), r.Map())
	}
	if r.plan = Plan(r.Map(), r.look(true)); len(r.plan) > 0 {
		r.Fatalf("settled, but the plan is not empty: %s", shorts(r.plan))
	}
}

func newWorldFor(t *rapid.T) *world {
	shards := rapid.IntRange(1, 9).Draw(t, "shards")
	replicas := rapid.SampledFrom([]int{1, 2, 3, 3, 3, 5}).Draw(t, "replicas")
	return newWorld(t, shards, replicas, 1, "b")
}
