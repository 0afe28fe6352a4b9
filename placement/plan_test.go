package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// status returns the status of a shard led by leader. Each member is a name followed by
// flags: "n" for a non-voter, "?" for no answer, a number for records behind. "cn200" is
// the non-voter c, which is 200 records behind.
func status(leader string, members ...string) ShardStatus {
	st := ShardStatus{Leader: id(leader), Term: 3, Commit: 1000, ConfigIndex: 7}
	for _, m := range members {
		s := Server{ID: id(m[:1]), Voter: true, Answered: true, LastIndex: 1000, Applied: 1000}
		switch flags := m[1:]; {
		case flags == "":
		case flags == "?":
			s = Server{ID: s.ID, Voter: true}
		case flags == "n":
			s.Voter = false
		case flags == "n?":
			s = Server{ID: s.ID}
		default:
			var behind uint64
			if n, ok := strings.CutPrefix(flags, "n"); ok {
				s.Voter, flags = false, n
			}
			if _, err := fmt.Sscan(flags, &behind); err != nil {
				panic(err)
			}
			s.LastIndex, s.Applied = 1000-behind, 1000-behind
		}
		st.Servers = append(st.Servers, s)
	}
	return st
}

func (s Step) short() string {
	if s.Kind == StepPropose {
		words := []string{s.Argv[0]}
		for _, w := range s.Argv[1:] {
			if ValidID(w) {
				w = name(w)
			}
			words = append(words, w)
		}
		return strings.Join(words, " ")
	}
	return fmt.Sprintf("%d: %s %s", s.Shard, s.Kind, name(s.Node))
}

func shorts(steps []Step) string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.short()
	}
	return strings.Join(out, "; ")
}

// planShardCase is a cluster of nodes a to e with one shard, and a meta group that needs no
// change.
type planShardCase struct {
	name     string
	replicas string // in the map
	prefer   string
	states   string // of nodes that are not active: "d draining"
	dead     string // nodes that gossip does not reach
	status   ShardStatus
	unsteady bool // the preferred leader has only just recovered
	tired    bool // the shard had a transfer recently
	want     string
}

var planShardCases = []planShardCase{
	{name: "nothing to do", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c"), want: ""},
	{name: "no leader", replicas: "a b c", prefer: "a", status: status("z"), want: ""},
	{name: "a leader without a vote", replicas: "a b c", prefer: "a", status: status("d", "a", "b", "c", "dn"), want: ""},

	// The map has fewer replicas than desired: fill.
	{name: "too few", replicas: "a", prefer: "a", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a b c"},
	{name: "too few, b dead", replicas: "a", prefer: "a", dead: "b", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a c d"},
	{name: "too few, b leaving", replicas: "a", prefer: "a", states: "b draining", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a c d"},

	// A replica becomes a non-voter, catches up, and becomes a voter: settle.
	{name: "the map adds b and c", replicas: "a b c", prefer: "a", status: status("a", "a"), want: "1: add non-voter b"},
	{name: "b has just been added", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900"), want: "1: add non-voter c"},
	{name: "both are behind", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900", "cn300"), want: ""},
	{name: "c is the first to catch up", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900", "cn200"), want: "1: add voter c"},
	{name: "b does not answer", replicas: "a b c", prefer: "a", status: status("a", "a", "bn?", "c"), want: ""},
	{name: "b is dead, and not added", replicas: "a b c", prefer: "a", dead: "b", status: status("a", "a", "c"), want: ""},
	{name: "with one more voter, two must be healthy", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "cn"), want: "1: add voter c"},
	{name: "with one more voter, three must be healthy", replicas: "a b c d", prefer: "a", status: status("a", "a", "b?", "c?", "dn"), want: ""},
	{name: "unwanted non-voter", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "dn?"), want: "1: remove d"},

	// A surplus voter is removed once all replicas of the map are voters: settle.
	{name: "d is surplus", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "d"), want: "1: remove d"},
	{name: "d is surplus and dead", replicas: "a b c", prefer: "a", dead: "d", status: status("a", "a", "b", "c", "d?"), want: "1: remove d"},
	{name: "c is not a voter yet", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "cn900", "d"), want: ""},
	{name: "c is missing", replicas: "a b c", prefer: "a", dead: "c", status: status("a", "a", "b", "d"), want: ""},
	{name: "b is dead, the rest is a majority", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "c", "d"), want: "1: remove d"},
	{name: "b and c are dead", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "c?", "d", "e"), want: ""},
	{name: "the dead one of two goes first", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "d", "e?"), want: "1: remove e"},
	{name: "the leader is surplus", replicas: "a b c", prefer: "b", status: status("d", "a", "b", "c", "d"), want: "1: transfer b"},
	{name: "the leader is surplus, preferred behind", replicas: "a b c", prefer: "b", status: status("d", "a", "b100", "c", "d"), want: "1: transfer a"},
	{name: "the leader is surplus, all behind", replicas: "a b c", prefer: "b", status: status("d", "a65", "b100", "c99", "d"), want: ""},
	{name: "the leader is surplus, transferred just now", replicas: "a b c", prefer: "b", tired: true, status: status("d", "a", "b", "c", "d"), want: ""},

	// A node leaves: drain.
	{name: "c leaves", replicas: "a b c", prefer: "a", states: "c draining", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b d"},
	{name: "c leaves, d is dead", replicas: "a b c", prefer: "a", states: "c draining", dead: "d", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b e"},
	{name: "c leaves, d and e are dead for now", replicas: "a b c", prefer: "a", states: "c draining", dead: "d e", status: status("a", "a", "b", "c"), want: ""},
	{name: "c leaves, no other node is active", replicas: "a b c", prefer: "a", states: "c draining, d removed, e removed", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b"},
	{name: "b and c leave, one at a time", replicas: "a b c", prefer: "a", states: "b draining, c draining", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a d c"},
	{name: "b has been replaced in the map, but is still a voter", replicas: "a d c", prefer: "a", states: "b draining, c draining", status: status("a", "a", "b", "c"), want: "1: add non-voter d"},
	{name: "c leaves, and then its replacement d", replicas: "a b d", prefer: "a", states: "c draining, d draining", status: status("a", "a", "b", "c", "dn900"), want: "SHARD.REPLICAS 1 V a b e"},

	// The leadership moves: evenLeaders and moveBack.
	{name: "no leader is preferred", replicas: "a b c", prefer: "", status: status("a", "a", "b", "c"), want: "SHARD.PREFER 1 V a"},
	{name: "the preferred leaves", replicas: "a b c", prefer: "c", states: "c draining, d removed, e draining", dead: "a", status: status("b", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b"},
	{name: "back to the preferred", replicas: "a b c", prefer: "a", status: status("b", "a", "b", "c"), want: "1: transfer a"},
	{name: "back, but only just well", replicas: "a b c", prefer: "a", unsteady: true, status: status("b", "a", "b", "c"), want: ""},
	{name: "back, but behind", replicas: "a b c", prefer: "a", status: status("b", "a65", "b", "c"), want: ""},
	{name: "back, but no answer", replicas: "a b c", prefer: "a", status: status("b", "a?", "b", "c"), want: ""},
	{name: "back, but gossip does not reach it", replicas: "a b c", prefer: "a", dead: "a", status: status("b", "a", "b", "c"), want: ""},
	{name: "back, but transferred just now", replicas: "a b c", prefer: "a", tired: true, status: status("b", "a", "b", "c"), want: ""},
	{name: "back, but something else comes first", replicas: "a b c", prefer: "a", status: status("b", "a", "b", "c", "dn"), want: "1: remove d"},
}

// observe returns the map and the observation of c.
func (c *planShardCase) observe(t *testing.T) (*Map, Observed) {
	m := newCluster(t, 1, 3, "a", "b", "c", "d", "e").Map().Clone()
	s := &m.Shards[0]
	s.Founded, s.Founders, s.Replicas, s.Preferred = true, ids("a"), ids(strings.Fields(c.replicas)...), ""
	if c.prefer != "" {
		s.Preferred = id(c.prefer)
	}
	setStates(m, c.states)
	if err := m.Check(); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{
		1: {Status: c.status, PreferredSteady: !c.unsteady, Rested: !c.tired},
	}}
	for _, n := range m.Nodes {
		w.Alive[n.ID] = !strings.Contains(c.dead, name(n.ID))
	}
	return m, w
}

// setStates sets the states of nodes: "a draining, b removed".
func setStates(m *Map, states string) {
	for f := range strings.SplitSeq(states, ",") {
		if w := strings.Fields(f); len(w) == 2 {
			m.Node(id(w[0])).State, _ = parseNodeState(w[1])
		}
	}
}

func TestPlanShard(t *testing.T) {
	for _, c := range planShardCases {
		m, w := c.observe(t)
		want := strings.Replace(c.want, " V ", fmt.Sprintf(" %d ", m.Shards[0].Version), 1)
		if got := shorts(Plan(m, w)); got != want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
		}
		for _, s := range Plan(m, w) {
			if member := s.Kind == StepAddNonvoter || s.Kind == StepAddVoter || s.Kind == StepRemove; member != (s.ConfigIndex == 7) {
				t.Errorf("%s: step %s for configuration %d", c.name, s.short(), s.ConfigIndex)
			}
		}
	}
}

// TestPlanMeta plans for the meta group of clusters whose nodes joined in the order of their
// names.
func TestPlanMeta(t *testing.T) {
	for _, c := range []struct {
		name   string
		nodes  string
		states string
		dead   string
		status ShardStatus
		tired  bool
		want   string
	}{
		{name: "one node", nodes: "a", status: status("a", "a"), want: ""},
		{name: "a second", nodes: "a b", status: status("a", "a"), want: "0: add non-voter b"},
		{name: "two stay one voter", nodes: "a b", status: status("a", "a", "bn"), want: ""},
		{name: "a third, dead", nodes: "a b c", dead: "c", status: status("a", "a", "bn"), want: ""},
		{name: "a third, behind", nodes: "a b c", status: status("a", "a", "bn", "cn900"), want: ""},
		{name: "three", nodes: "a b c", status: status("a", "a", "bn", "cn"), want: "0: add voter b"},
		{name: "three, half way", nodes: "a b c", status: status("a", "a", "b", "cn"), want: "0: add voter c"},
		{name: "three, half way, b dead", nodes: "a b c", status: status("a", "a", "b?", "cn"), want: "0: add voter c"},
		{name: "four stay three voters", nodes: "a b c d", status: status("a", "a", "b", "c", "dn"), want: ""},
		{name: "five", nodes: "a b c d e", status: status("a", "a", "b", "c", "dn", "en"), want: "0: add voter d"},
		{name: "five, two dead", nodes: "a b c d e", status: status("a", "a", "b?", "c?", "dn", "en"), want: ""},
		{name: "seven stay five voters", nodes: "a b c d e f g", status: status("a", "a", "b", "c", "d", "e", "fn", "gn"), want: ""},
		{name: "a dead voter is not replaced", nodes: "a b c d", dead: "c", status: status("a", "a", "b", "c?", "dn"), want: ""},
		{name: "z is not a node of the cluster", nodes: "a", status: status("a", "a", "zn"), want: "0: remove z"},
		{name: "a removed non-voter", nodes: "a b", states: "b removed", status: status("a", "a", "bn"), want: "0: remove b"},
		{name: "c leaves: d becomes a voter in its place", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "dn"), want: "0: add voter d"},
		{name: "c leaves: then it is removed", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "d"), want: "0: remove c"},
		{name: "c leaves, d is not ready", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "dn900"), want: ""},
		{name: "c leaves and stays a non-voter until it is gone", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "d"), want: "0: add non-voter c"},
		{name: "c leaves, is gone, and is still a voter", nodes: "a b c d", states: "c draining", dead: "c", status: status("a", "a", "b", "c?", "d"), want: "0: remove c"},
		{name: "a leaves and leads", nodes: "a b c d", states: "a draining", status: status("a", "a", "b", "c", "d"), want: "0: transfer b"},
		{name: "a leaves and leads, a transfer was recent", nodes: "a b c d", states: "a draining", tired: true, status: status("a", "a", "b", "c", "d"), want: ""},
		{name: "three become two", nodes: "a b c", states: "c removed", status: status("a", "a", "b", "c?"), want: "0: remove c"},
		{name: "two voters become one", nodes: "a b c", states: "c removed", status: status("a", "a", "b"), want: "0: remove b"},
		{name: "two voters become one, and that is the leader", nodes: "a b c", states: "c removed", status: status("b", "a", "b"), want: "0: remove a"},
		{name: "one of two voters is dead", nodes: "a b c", states: "c removed", status: status("a", "a", "b?"), want: "0: remove b"},
		{name: "a removed voter, its removal would leave no majority", nodes: "a b c d", states: "d removed", status: status("a", "a", "b?", "c?", "d"), want: ""},
	} {
		m := newCluster(t, 1, 1, strings.Fields(c.nodes)...).Map().Clone()
		setStates(m, c.states)
		w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{MetaShard: {Status: c.status, Rested: !c.tired}}}
		for _, n := range m.Nodes {
			w.Alive[n.ID] = !strings.Contains(c.dead, name(n.ID))
		}
		if got := shorts(Plan(m, w)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestPlanGone shows when a draining node that gossip does not reach is marked as removed.
func TestPlanGone(t *testing.T) {
	shard := func(members ...string) *ShardView { return &ShardView{Status: status("a", members...), Rested: true} }
	for _, c := range []struct {
		what, state, dead string
		meta, shard       *ShardView
		gone              bool
	}{
		{"it holds nothing", "draining", "c", shard("a"), shard("a"), true},
		{"it votes in the meta group", "draining", "c", shard("a", "b", "c?"), shard("a"), false},
		{"it is still in a shard", "draining", "c", shard("a"), shard("a", "c?"), false},
		{"a shard has no leader", "draining", "c", shard("a"), nil, false},
		{"it is alive", "draining", "", shard("a"), shard("a"), false},
		{"it is not draining", "active", "c", shard("a"), shard("a"), false},
	} {
		m := newCluster(t, 1, 1, "a", "b", "c").Map().Clone()
		m.Node(id("c")).State, _ = parseNodeState(c.state)
		m.Shards[0].Founded = true
		w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{MetaShard: *c.meta}}
		if c.shard != nil {
			w.Shards[1] = *c.shard
		}
		for _, n := range m.Nodes {
			w.Alive[n.ID] = name(n.ID) != c.dead
		}
		if got := shorts(Plan(m, w)); strings.Contains(got, "NODE.STATE c removed") != c.gone {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}

// TestPlanEven shows that a node that has joined gets replicas one at a time until it has as
// many as the others, and none while a replica is moving or unhealthy.
func TestPlanEven(t *testing.T) {
	m := newCluster(t, 4, 3, "a", "b", "c").Map().Clone()
	for i := range m.Shards {
		s := &m.Shards[i]
		s.Founded, s.Replicas, s.Preferred = true, ids("a", "b", "c"), ids("a", "b", "c", "a")[i]
	}
	d := *m.Node(id("a"))
	d.ID, d.Joined = id("d"), 99
	m.Nodes = append(m.Nodes, d)
	w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{}}
	for _, n := range m.Nodes {
		w.Alive[n.ID] = true
	}
	see := func(shard uint32, st ShardStatus) {
		w.Shards[shard] = ShardView{Status: st, PreferredSteady: true, Rested: true}
	}
	plan := func(what, want string) {
		t.Helper()
		if got := shorts(Plan(m, w)); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	for i, leader := range []string{"a", "b", "c", "a"} {
		see(uint32(i+1), status(leader, "a", "b", "c"))
	}
	version := fmt.Sprint(m.Shards[0].Version)
	plan("d is new", "SHARD.REPLICAS 1 "+version+" a d c")
	w.Alive[id("d")] = false
	plan("d is not alive", "")
	w.Alive[id("d")] = true
	see(1, status("a", "a", "b?", "c"))
	plan("b does not answer", "SHARD.REPLICAS 2 "+version+" d b c")
	m.Shards[0].Replicas = ids("a", "d", "c")
	see(1, status("a", "a", "b", "c", "dn900"))
	plan("a replica is on its way", "")
	m.Shards[0].Replicas = ids("a", "b", "c")
	delete(w.Shards, 4)
	see(1, status("a", "a", "b", "c"))
	plan("shard 4 has no leader", "")
	see(4, status("a", "a", "b", "c"))
	m.Shards[0].Replicas, m.Shards[1].Replicas = ids("a", "d", "c"), ids("d", "b", "c")
	see(1, status("a", "a", "d", "c"))
	see(2, status("b", "d", "b", "c"))
	plan("d has two, c four", "SHARD.PREFER 1 "+version+" d; SHARD.REPLICAS 3 "+version+" a b d")
	m.Shards[2].Replicas = ids("a", "b", "d")
	m.Shards[2].Preferred = id("a")
	see(3, status("a", "a", "b", "d"))
	if steps := Plan(m, w); slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepPropose && s.Argv[0] == "SHARD.REPLICAS" }) {
		t.Errorf("all have three: %s", shorts(steps))
	}
}

func TestPlanStart(t *testing.T) {
	if got := Plan(nil, Observed{}); got != nil {
		t.Errorf("no map: %v", got)
	}
	m := newMeta()
	m.must(t, append([]string{"FOUND", clusterID, "2", "3", "2", id("a")}, addrs("a")...)...)
	meta := ShardView{Status: status("a", "a")}
	w := Observed{Alive: map[string]bool{id("a"): true, id("b"): true}, Shards: map[uint32]ShardView{MetaShard: meta}}
	if got := shorts(Plan(m.Map(), w)); got != "" {
		t.Errorf("one of two nodes: %s", got)
	}
	m.join(t, "b")
	if got := shorts(Plan(m.Map(), w)); got != "SHARDS.CREATE 2" {
		t.Errorf("both nodes: %s", got)
	}
	m.must(t, "SHARDS.CREATE", "2")
	if got := shorts(Plan(m.Map(), w)); got != "0: add non-voter b" {
		t.Errorf("no leader yet: %s", got)
	}
	w.Shards[2] = ShardView{Status: status("b", "a", "b"), Rested: true, PreferredSteady: true}
	if got := shorts(Plan(m.Map(), w)); got != "0: add non-voter b; SHARD.FOUNDED 2" {
		t.Errorf("shard 2 has a leader: %s", got)
	}
}

// TestPlanSpreads shows that the steps of one plan together spread replicas and leaders
// evenly, and that only one shard at a time changes its leader.
func TestPlanSpreads(t *testing.T) {
	m := newCluster(t, 6, 1, "a")
	for _, n := range []string{"b", "c"} {
		m.join(t, n)
	}
	cur := m.Map().Clone()
	cur.Settings.Replicas = 2
	w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{}}
	for _, n := range cur.Nodes {
		w.Alive[n.ID] = true
	}
	for i := range cur.Shards {
		cur.Shards[i].Founded = true
		w.Shards[cur.Shards[i].ID] = ShardView{Status: status("a", "a"), Rested: true, PreferredSteady: true}
	}
	want := "SHARD.REPLICAS 1 2 a b; SHARD.REPLICAS 2 2 a c; SHARD.REPLICAS 3 2 a b; SHARD.REPLICAS 4 2 a c; SHARD.REPLICAS 5 2 a b; SHARD.REPLICAS 6 2 a c"
	if got := strings.ReplaceAll(shorts(Plan(cur, w)), fmt.Sprintf(" %d ", cur.Shards[0].Version), " 2 "); got != want {
		t.Errorf("replicas:\n got %s\nwant %s", got, want)
	}

	for i := range cur.Shards {
		s := &cur.Shards[i]
		s.Replicas = ids("a", "b", "c")
		w.Shards[s.ID] = ShardView{Status: status("a", "a", "b", "c"), Rested: true, PreferredSteady: true}
	}
	cur.Settings.Replicas = 3
	leaders := map[string]int{}
	for _, s := range Plan(cur, w) {
		if s.Kind != StepPropose || s.Argv[0] != "SHARD.PREFER" {
			t.Fatalf("step %s", s.short())
		}
		shard := cur.Shard(s.Shard)
		shard.Preferred = s.Argv[3]
	}
	for _, s := range cur.Shards {
		leaders[s.Preferred]++
	}
	if d := spread(leaders, cur.Active()); d > 1 {
		t.Errorf("leaders after one plan: %v", leaders)
	}
	steps := Plan(cur, w)
	if len(steps) != 1 || steps[0].Kind != StepTransfer {
		t.Errorf("four shards prefer another leader: %s, want one transfer", shorts(steps))
	}
}
