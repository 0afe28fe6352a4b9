package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/placement"
)

func testID(c byte) string { return strings.Repeat(string(c), 40) }

// Nodes and replicas of the surveys in planCases.
var (
	nodeA, nodeB, nodeX, nodeY = testID('a'), testID('b'), testID('c'), testID('d')
	three                      = []string{nodeA, nodeX, nodeY} // the voters of most shards
	metaOnA                    = rep(0, 5, 9, three...)
)

func rep(shard uint32, term, index uint64, voters ...string) SurveyedReplica {
	return SurveyedReplica{Shard: shard, LastTerm: term, LastIndex: index, Voters: voters}
}

func damaged(r SurveyedReplica) SurveyedReplica {
	r.Problem = "damaged"
	return r
}

// surveyOf returns the survey of a node in a cluster with two data shards.
func surveyOf(id string, replicas ...SurveyedReplica) Survey {
	return Survey{Format: recoveryFormat, NodeID: id, ClusterID: testID('e'), Shards: 2, Replicas: replicas}
}

// planCases show from which replica each shard goes on.
var planCases = []struct {
	name    string
	surveys []Survey
	accept  bool
	want    string // "shard=node …"
	err     error
	text    string // expected in the error
}{
	{"one survivor", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 3, three...), rep(2, 2, 3, three...))}, false, "0=a 1=a 2=a", nil, ""},
	{"the greater last term wins", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 99, three...), rep(2, 3, 1, three...)),
		surveyOf(nodeB, rep(1, 3, 5, three...), rep(2, 2, 50, three...))},
		false, "0=a 1=b 2=a", nil, ""},
	{"then the greater last index", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 5, three...), rep(2, 2, 5, three...)),
		surveyOf(nodeB, rep(1, 2, 6, three...), rep(2, 2, 4, three...))},
		false, "0=a 1=b 2=a", nil, ""},
	{"equal logs are spread over the nodes", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 5, three...), rep(2, 2, 5, three...)),
		surveyOf(nodeB, metaOnA, rep(1, 2, 5, three...), rep(2, 2, 5, three...))},
		false, "0=a 1=b 2=a", nil, ""},
	{"a damaged replica does not count", []Survey{surveyOf(nodeA, metaOnA, damaged(rep(1, 9, 9, three...)), rep(2, 2, 5, three...)),
		surveyOf(nodeB, rep(1, 2, 5, three...))},
		false, "0=a 1=b 2=a", nil, ""},
	{"a shard is lost", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 5, three...))}, false, "", ErrPlan, "shard 2"},
	{"the loss of a shard is accepted", []Survey{surveyOf(nodeA, metaOnA, rep(1, 2, 5, three...))}, true, "0=a 1=a lost 2=a", nil, ""},
	{"the map is lost", []Survey{surveyOf(nodeA, rep(1, 2, 5, three...), rep(2, 2, 5, three...))}, true, "", ErrPlan, "shard 0"},
	{"a majority survives", []Survey{surveyOf(nodeA, rep(0, 1, 1, nodeA, nodeX), rep(1, 1, 1, nodeA, nodeB, nodeY), rep(2, 1, 1, nodeB, nodeA, nodeX)), surveyOf(nodeB), surveyOf(nodeX)}, false, "", ErrNoNeed, ""},
	{"half of the voters is no majority", []Survey{surveyOf(nodeA, rep(0, 1, 1, nodeA), rep(1, 1, 1, nodeA), rep(2, 1, 1, nodeA, nodeB))}, false, "0=a 1=a 2=a", nil, ""},
	{"no surveys", nil, true, "", ErrPlan, "no surveys"},
	{"one node twice", []Survey{surveyOf(nodeA, metaOnA), surveyOf(nodeA, metaOnA)}, true, "", ErrPlan, "two surveys"},
	{"two clusters", []Survey{surveyOf(nodeA, metaOnA), {Format: recoveryFormat, NodeID: nodeB, ClusterID: testID('f')}}, true, "", ErrPlan, "two clusters"},
	{"a newer format", []Survey{{Format: recoveryFormat + 1}}, true, "", ErrPlan, "format"},
}

func TestPlanRecovery(t *testing.T) {
	for _, tc := range planCases {
		t.Run(tc.name, func(t *testing.T) {
			p, err := PlanRecovery(tc.surveys, tc.accept)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			var got []string
			for _, k := range p.Keep {
				got = append(got, fmt.Sprintf("%d=%c", k.Shard, k.Node[0]))
			}
			for _, l := range p.Lost {
				got = append(got, fmt.Sprintf("lost %d=%c", l.Shard, l.Node[0]))
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s, want %s", strings.Join(got, " "), tc.want)
			}
			if err := p.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRewrittenMap shows that the new map has the survivors as its nodes, that each shard
// stays where it is kept, and that a lost shard is founded again.
func TestRewrittenMap(t *testing.T) {
	a, x := testID('a'), testID('c')
	m := &placement.Map{
		Version: 7, ClusterID: testID('e'), Settings: placement.Settings{Shards: 2, Replicas: 2, Expect: 1},
		Nodes: []placement.Node{
			{ID: a, PeerAddr: "h:1", ClientAddr: "h:2", Joined: 1, State: placement.Draining},
			{ID: x, PeerAddr: "h:3", ClientAddr: "h:4", Joined: 2, State: placement.Active},
		},
		Shards: []placement.Shard{
			{ID: 1, First: 0, Last: 99, Version: 3, Founded: true, Founders: []string{x, a}, Replicas: []string{x, a}, Preferred: x},
			{ID: 2, First: 100, Last: placement.Slots - 1, Version: 3, Founded: true, Founders: []string{x}, Replicas: []string{x}},
		},
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	p := RecoveryPlan{
		Format: recoveryFormat, OldCluster: m.ClusterID, NewCluster: testID('f'), Survivors: []string{a},
		Keep: []KeptReplica{{Shard: 0, Node: a}, {Shard: 1, Node: a}},
	}
	if _, err := p.rewrite(m); !errors.Is(err, ErrPlan) {
		t.Errorf("a plan that leaves a shard out: %v", err)
	}
	p.Lost = []LostShard{{Shard: 2, Node: a}}
	got, err := p.rewrite(m)
	if err != nil {
		t.Fatal(err)
	}
	if got.ClusterID != p.NewCluster || got.Version != 8 || got.Node(a).State != placement.Active || got.Node(x).State != placement.Removed {
		t.Errorf("%v", got)
	}
	if s := got.Shard(1); !s.Founded || len(s.Replicas) != 1 || s.Replicas[0] != a || s.Preferred != a {
		t.Errorf("%+v", s)
	}
	if s := got.Shard(2); s.Founded || s.Founders[0] != a || s.Replicas[0] != a {
		t.Errorf("%+v", s)
	}
	if again, err := p.rewrite(got); err != nil || again.Version != 8 {
		t.Errorf("rewritten again: version %d, %v", again.Version, err)
	}
	if m.ClusterID == got.ClusterID || m.Node(a).State != placement.Draining {
		t.Error("the old map was changed")
	}
}

// stopped returns the data directory of a node that has written data and was stopped.
func stopped(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	n := runNode(t, testConfig(dir))
	cl := dial(t, n.addrs.Client)
	for range 50 {
		cl.send("XADD s * f v")
		cl.line()
		cl.line()
	}
	cl.send("XGROUP CREATE s g 0")
	cl.line()
	if err := n.end(t); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestApplyRefuses applies plans that do not fit the directory. None of them changes it.
func TestApplyRefuses(t *testing.T) {
	dir := stopped(t)
	s, err := MakeSurvey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PlanRecovery([]Survey{s}, false); !errors.Is(err, ErrNoNeed) {
		t.Errorf("a single healthy node: %v", err)
	}
	good := RecoveryPlan{Format: recoveryFormat, OldCluster: s.ClusterID, NewCluster: testID('f'), Survivors: []string{s.NodeID}}
	for _, r := range s.Replicas {
		good.Keep = append(good.Keep, KeptReplica{Shard: r.Shard, Node: s.NodeID, LastTerm: r.LastTerm, LastIndex: r.LastIndex})
	}
	for name, change := range map[string]func(p *RecoveryPlan){
		"another cluster":       func(p *RecoveryPlan) { p.OldCluster = testID('d') },
		"the same cluster":      func(p *RecoveryPlan) { p.NewCluster = p.OldCluster },
		"another format":        func(p *RecoveryPlan) { p.Format++ },
		"not surveyed":          func(p *RecoveryPlan) { p.Survivors = []string{testID('a')}; p.Keep[0].Node = testID('a') },
		"no map":                func(p *RecoveryPlan) { p.Keep = p.Keep[1:] },
		"it ran since":          func(p *RecoveryPlan) { p.Keep[1].LastIndex-- },
		"a shard it has not":    func(p *RecoveryPlan) { p.Keep = append(p.Keep, KeptReplica{Shard: 9, Node: s.NodeID}) },
		"a plan of other nodes": func(p *RecoveryPlan) { p.Survivors = nil },
	} {
		p := good
		p.Keep = append([]KeptReplica(nil), good.Keep...)
		change(&p)
		if err := ApplyRecovery(dir, p, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, recoveryFile)); err == nil {
			t.Fatalf("%s: something was begun", name)
		}
	}
	// The node still starts, because nothing was changed.
	n := runNode(t, testConfig(dir))
	if err := n.end(t); err != nil {
		t.Error(err)
	}
}

// TestDiagnose shows the checkup of a directory that is healthy, and that of one in use.
func TestDiagnose(t *testing.T) {
	dir := stopped(t)
	up, err := Diagnose(dir, nil)
	if err != nil || !up.Healthy || len(up.Checks) != 5 || len(up.Replicas) != 2 {
		t.Fatalf("%+v, %v", up, err)
	}
	if again, err := Diagnose(dir, nil); err != nil || !again.Healthy {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if _, err := Diagnose(filepath.Join(dir, "nothing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	n := runNode(t, testConfig(dir))
	if _, err := Diagnose(dir, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a running node: %v", err)
	}
	if err := n.end(t); err != nil {
		t.Fatal(err)
	}
}

// TestDiagnoseDamage damages a directory in several ways. want is the first check that finds
// a problem.
func TestDiagnoseDamage(t *testing.T) {
	dir := stopped(t)
	// A restart moves the state from the WAL to a table, which flipTable needs.
	if err := runNode(t, testConfig(dir)).end(t); err != nil {
		t.Fatal(err)
	}
	other := testID('9')
	for name, tc := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"identity":      {replaceIn(identityFile, "format", "fromat"), "identity"},
		"other cluster": {alterIdentity(func(id *identity) { id.ClusterID = other }), "placement"},
		"other node":    {alterIdentity(func(id *identity) { id.NodeID = other }), "placement"},
		"cut recovery":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, recoveryFile), nil, 0o600) }, "identity"},
		"no raft logs":  {func(dir string) error { return os.RemoveAll(filepath.Join(dir, raftlogDir)) }, "raft logs"},
		"older logs":    {func(dir string) error { return swapLogs(t, dir) }, "replicas"},
		"flipped bit":   {flipTable, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := tc.damage(broken); err != nil {
				t.Fatal(err)
			}
			up, err := Diagnose(broken, nil)
			if err != nil {
				t.Fatal(err)
			}
			var bad []string
			for _, c := range up.Checks {
				if len(c.Problems) > 0 {
					bad = append(bad, c.Name)
				}
			}
			if up.Healthy || len(bad) == 0 || bad[0] != tc.want {
				t.Errorf("problems in %q, want %s: %+v", bad, tc.want, up.Checks)
			}
		})
	}
}

// replaceIn returns a function that replaces the first from in a file with to.
func replaceIn(name, from, to string) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o600)
	}
}

// alterIdentity returns a function that changes the identity, and keeps its sum correct.
func alterIdentity(f func(id *identity)) func(dir string) error {
	return func(dir string) error {
		id, err := readIdentity(dir)
		if err != nil {
			return err
		}
		f(&id)
		return id.save(dir)
	}
}

// swapLogs replaces a node's logs with those of a node that has written less.
func swapLogs(t *testing.T, dir string) error {
	other := filepath.Join(t.TempDir(), "data")
	n := runNode(t, testConfig(other))
	if err := n.end(t); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, raftlogDir)); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, raftlogDir), os.DirFS(filepath.Join(other, raftlogDir)))
}

// flipTable flips a bit in a table of the state.
func flipTable(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, stateDir, "*.sst"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no tables: %w", err)
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		return err
	}
	b[20] ^= 1
	return os.WriteFile(paths[0], b, 0o600)
}
