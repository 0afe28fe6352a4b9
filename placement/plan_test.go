package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// status is a status led by leader. Each member is a name, then flags: "n" a non-voter, "?" does not answer,
// "<n>" entries behind.
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

// TestPlanShard: a cluster of nodes a to e that has one shard, and a meta group that
// needs nothing.
func TestPlanShard(t *testing.T) {
	for _, c := range []struct {
		what     string
		replicas string // where the map wants them
		prefer   string
		states   string // nodes that are not active: "d draining"
		dead     string // nodes that gossip does not reach
		status   ShardStatus
		unsteady bool // the preferred leader has only just come back
		tired    bool // the shard had a transfer just now
		want     string
	}{
		{what: "as it should be", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c"), want: ""},
		{what: "no leader", replicas: "a b c", prefer: "a", status: status("z"), want: ""},
		{what: "a leader without a vote", replicas: "a b c", prefer: "a", status: status("d", "a", "b", "c", "dn"), want: ""},

		// fill
		{what: "too few", replicas: "a", prefer: "a", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a b c"},
		{what: "too few, b dead", replicas: "a", prefer: "a", dead: "b", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a c d"},
		{what: "too few, b leaving", replicas: "a", prefer: "a", states: "b draining", status: status("a", "a"), want: "SHARD.REPLICAS 1 V a c d"},

		// non-voter, caught up, voter
		{what: "wanted at b and c", replicas: "a b c", prefer: "a", status: status("a", "a"), want: "1: add non-voter b"},
		{what: "b has just begun", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900"), want: "1: add non-voter c"},
		{what: "both are behind", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900", "cn300"), want: ""},
		{what: "c is first", replicas: "a b c", prefer: "a", status: status("a", "a", "bn900", "cn200"), want: "1: add voter c"},
		{what: "b does not answer", replicas: "a b c", prefer: "a", status: status("a", "a", "bn?", "c"), want: ""},
		{what: "b is dead, and not added", replicas: "a b c", prefer: "a", dead: "b", status: status("a", "a", "c"), want: ""},
		{what: "a vote more would need two healthy", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "cn"), want: "1: add voter c"},
		{what: "a vote more would need three healthy", replicas: "a b c d", prefer: "a", status: status("a", "a", "b?", "c?", "dn"), want: ""},
		{what: "unwanted non-voter", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "dn?"), want: "1: remove d"},

		// a voter goes when all wanted ones are there
		{what: "d is too many", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "d"), want: "1: remove d"},
		{what: "d is too many and dead", replicas: "a b c", prefer: "a", dead: "d", status: status("a", "a", "b", "c", "d?"), want: "1: remove d"},
		{what: "c is not there yet", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "cn900", "d"), want: ""},
		{what: "c is missing", replicas: "a b c", prefer: "a", dead: "c", status: status("a", "a", "b", "d"), want: ""},
		{what: "b is dead, the rest is a majority", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "c", "d"), want: "1: remove d"},
		{what: "b and c are dead", replicas: "a b c", prefer: "a", status: status("a", "a", "b?", "c?", "d", "e"), want: ""},
		{what: "the dead one of two goes first", replicas: "a b c", prefer: "a", status: status("a", "a", "b", "c", "d", "e?"), want: "1: remove e"},
		{what: "the leader is too many", replicas: "a b c", prefer: "b", status: status("d", "a", "b", "c", "d"), want: "1: transfer b"},
		{what: "the leader is too many, preferred behind", replicas: "a b c", prefer: "b", status: status("d", "a", "b100", "c", "d"), want: "1: transfer a"},
		{what: "the leader is too many, all behind", replicas: "a b c", prefer: "b", status: status("d", "a65", "b100", "c99", "d"), want: ""},
		{what: "the leader is too many, transferred just now", replicas: "a b c", prefer: "b", tired: true, status: status("d", "a", "b", "c", "d"), want: ""},

		// a node leaves
		{what: "c leaves", replicas: "a b c", prefer: "a", states: "c draining", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b d"},
		{what: "c leaves, d is dead", replicas: "a b c", prefer: "a", states: "c draining", dead: "d", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b e"},
		{what: "c leaves, d and e are dead for now", replicas: "a b c", prefer: "a", states: "c draining", dead: "d e", status: status("a", "a", "b", "c"), want: ""},
		{what: "c leaves, nobody else is there", replicas: "a b c", prefer: "a", states: "c draining, d removed, e removed", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b"},
		{what: "b and c leave, one at a time", replicas: "a b c", prefer: "a", states: "b draining, c draining", status: status("a", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a d c"},
		{what: "b has been replaced in the map, not yet in fact", replicas: "a d c", prefer: "a", states: "b draining, c draining", status: status("a", "a", "b", "c"), want: "1: add non-voter d"},
		{what: "the one that was to replace leaves itself", replicas: "a b d", prefer: "a", states: "c draining, d draining", status: status("a", "a", "b", "c", "dn900"), want: "SHARD.REPLICAS 1 V a b e"},

		// who leads
		{what: "nobody is preferred", replicas: "a b c", prefer: "", status: status("a", "a", "b", "c"), want: "SHARD.PREFER 1 V a"},
		{what: "the preferred leaves", replicas: "a b c", prefer: "c", states: "c draining, d removed, e draining", dead: "a", status: status("b", "a", "b", "c"), want: "SHARD.REPLICAS 1 V a b"},
		{what: "back to the preferred", replicas: "a b c", prefer: "a", status: status("b", "a", "b", "c"), want: "1: transfer a"},
		{what: "back, but only just well", replicas: "a b c", prefer: "a", unsteady: true, status: status("b", "a", "b", "c"), want: ""},
		{what: "back, but behind", replicas: "a b c", prefer: "a", status: status("b", "a65", "b", "c"), want: ""},
		{what: "back, but no answer", replicas: "a b c", prefer: "a", status: status("b", "a?", "b", "c"), want: ""},
		{what: "back, but gossip does not reach it", replicas: "a b c", prefer: "a", dead: "a", status: status("b", "a", "b", "c"), want: ""},
		{what: "back, but transferred just now", replicas: "a b c", prefer: "a", tired: true, status: status("b", "a", "b", "c"), want: ""},
		{what: "back, but something else comes first", replicas: "a b c", prefer: "a", status: status("b", "a", "b", "c", "dn"), want: "1: remove d"},
	} {
		m := foundedBy(t, 1, 3, "a", "b", "c", "d", "e").Map().Clone()
		s := &m.Shards[0]
		s.Founded, s.Founders, s.Replicas, s.Preferred = true, ids("a"), ids(strings.Fields(c.replicas)...), ""
		if c.prefer != "" {
			s.Preferred = id(c.prefer)
		}
		for _, f := range strings.Split(c.states, ",") {
			if w := strings.Fields(f); len(w) == 2 {
				m.Node(id(w[0])).State, _ = parseNodeState(w[1])
			}
		}
		if err := m.Check(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{
			1: {Status: c.status, PreferredSteady: !c.unsteady, Rested: !c.tired},
		}}
		for _, n := range m.Nodes {
			w.Alive[n.ID] = !strings.Contains(c.dead, name(n.ID))
		}
		want := strings.Replace(c.want, " V ", fmt.Sprintf(" %d ", s.Version), 1)
		if got := shorts(Plan(m, w)); got != want {
			t.Errorf("%s:\n got %q\nwant %q", c.what, got, want)
		}
		for _, s := range Plan(m, w) {
			if member := s.Kind == StepAddNonvoter || s.Kind == StepAddVoter || s.Kind == StepRemove; member != (s.ConfigIndex == 7) {
				t.Errorf("%s: step %s for configuration %d", c.what, s.short(), s.ConfigIndex)
			}
		}
	}
}

// TestPlanMeta: the meta group of clusters whose nodes joined in order of name.
func TestPlanMeta(t *testing.T) {
	for _, c := range []struct {
		what   string
		nodes  string
		states string
		dead   string
		status ShardStatus
		tired  bool
		want   string
	}{
		{what: "one node", nodes: "a", status: status("a", "a"), want: ""},
		{what: "a second", nodes: "a b", status: status("a", "a"), want: "0: add non-voter b"},
		{what: "two stay one voter", nodes: "a b", status: status("a", "a", "bn"), want: ""},
		{what: "a third, dead", nodes: "a b c", dead: "c", status: status("a", "a", "bn"), want: ""},
		{what: "a third, behind", nodes: "a b c", status: status("a", "a", "bn", "cn900"), want: ""},
		{what: "three", nodes: "a b c", status: status("a", "a", "bn", "cn"), want: "0: add voter b"},
		{what: "three, half way", nodes: "a b c", status: status("a", "a", "b", "cn"), want: "0: add voter c"},
		{what: "three, half way, b dead", nodes: "a b c", status: status("a", "a", "b?", "cn"), want: "0: add voter c"},
		{what: "four stay three voters", nodes: "a b c d", status: status("a", "a", "b", "c", "dn"), want: ""},
		{what: "five", nodes: "a b c d e", status: status("a", "a", "b", "c", "dn", "en"), want: "0: add voter d"},
		{what: "five, two dead", nodes: "a b c d e", status: status("a", "a", "b?", "c?", "dn", "en"), want: ""},
		{what: "seven stay five voters", nodes: "a b c d e f g", status: status("a", "a", "b", "c", "d", "e", "fn", "gn"), want: ""},
		{what: "a dead voter is not replaced", nodes: "a b c d", dead: "c", status: status("a", "a", "b", "c?", "dn"), want: ""},
		{what: "a stranger", nodes: "a", status: status("a", "a", "zn"), want: "0: remove z"},
		{what: "a removed non-voter", nodes: "a b", states: "b removed", status: status("a", "a", "bn"), want: "0: remove b"},
		{what: "c leaves: d takes its vote", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "dn"), want: "0: add voter d"},
		{what: "c leaves: then it goes", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "d"), want: "0: remove c"},
		{what: "c leaves, d is not ready", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "c", "dn900"), want: ""},
		{what: "c leaves and comes back as a non-voter", nodes: "a b c d", states: "c draining", status: status("a", "a", "b", "d"), want: "0: add non-voter c"},
		{what: "c leaves, is gone, and has its vote still", nodes: "a b c d", states: "c draining", dead: "c", status: status("a", "a", "b", "c?", "d"), want: "0: remove c"},
		{what: "a leaves and leads", nodes: "a b c d", states: "a draining", status: status("a", "a", "b", "c", "d"), want: "0: transfer b"},
		{what: "a leaves and leads, transferred just now", nodes: "a b c d", states: "a draining", tired: true, status: status("a", "a", "b", "c", "d"), want: ""},
		{what: "three become two", nodes: "a b c", states: "c removed", status: status("a", "a", "b", "c?"), want: "0: remove c"},
		{what: "two voters become one", nodes: "a b c", states: "c removed", status: status("a", "a", "b"), want: "0: remove b"},
		{what: "two voters become one, the leader stays", nodes: "a b c", states: "c removed", status: status("b", "a", "b"), want: "0: remove a"},
		{what: "one of two would be alone and is dead", nodes: "a b c", states: "c removed", status: status("a", "a", "b?"), want: "0: remove b"},
		{what: "a removed voter, its removal would leave no majority", nodes: "a b c d", states: "d removed", status: status("a", "a", "b?", "c?", "d"), want: ""},
	} {
		m := foundedBy(t, 1, 1, strings.Fields(c.nodes)...).Map().Clone()
		for _, f := range strings.Split(c.states, ",") {
			if w := strings.Fields(f); len(w) == 2 {
				m.Node(id(w[0])).State, _ = parseNodeState(w[1])
			}
		}
		w := Observed{Alive: map[string]bool{}, Shards: map[uint32]ShardView{MetaShard: {Status: c.status, Rested: !c.tired}}}
		for _, n := range m.Nodes {
			w.Alive[n.ID] = !strings.Contains(c.dead, name(n.ID))
		}
		if got := shorts(Plan(m, w)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.what, got, c.want)
		}
	}
}

// TestPlanGone: when a node that was to leave, and is not reached, is taken off the map.
func TestPlanGone(t *testing.T) {
	shard := func(members ...string) *ShardView { return &ShardView{Status: status("a", members...), Rested: true} }
	for _, c := range []struct {
		what, state, dead string
		meta, shard       *ShardView
		gone              bool
	}{
		{"nothing of it is left", "draining", "c", shard("a"), shard("a"), true},
		{"it votes in the meta group", "draining", "c", shard("a", "b", "c?"), shard("a"), false},
		{"it is in a shard still", "draining", "c", shard("a"), shard("a", "c?"), false},
		{"a shard has no leader", "draining", "c", shard("a"), nil, false},
		{"it is there", "draining", "", shard("a"), shard("a"), false},
		{"it was not to leave", "active", "c", shard("a"), shard("a"), false},
	} {
		m := foundedBy(t, 1, 1, "a", "b", "c").Map().Clone()
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

// A node that has joined is given replicas until it has as many as the others, one at a
// time, and none while a shard is in motion or a replica is not well.
func TestPlanEven(t *testing.T) {
	m := foundedBy(t, 4, 3, "a", "b", "c").Map().Clone()
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
	plan("d is not there", "")
	w.Alive[id("d")] = true
	see(1, status("a", "a", "b?", "c"))
	plan("b does not answer", "SHARD.REPLICAS 2 "+version+" d b c")
	m.Shards[0].Replicas = ids("a", "d", "c")
	see(1, status("a", "a", "b", "c", "dn900"))
	plan("a replica is on its way", "")
	m.Shards[0].Replicas = ids("a", "b", "c")
	delete(w.Shards, 4)
	see(1, status("a", "a", "b", "c"))
	plan("nobody knows of shard 4", "")
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

// TestPlanSpreads: what one plan gives out is spread, over all its steps together; and
// one shard at a time changes its leader.
func TestPlanSpreads(t *testing.T) {
	m := foundedBy(t, 6, 1, "a")
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
		t.Errorf("four shards are to be led elsewhere: %s, want one transfer", shorts(steps))
	}
}
