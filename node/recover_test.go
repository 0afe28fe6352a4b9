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

// Which replica each shard goes on from.
func TestPlanRecovery(t *testing.T) {
	a, b, x, y := testID('a'), testID('b'), testID('c'), testID('d')
	all := []string{a, x, y}
	rep := func(shard uint32, term, index uint64, voters ...string) SurveyedReplica {
		return SurveyedReplica{Shard: shard, LastTerm: term, LastIndex: index, Voters: voters}
	}
	spoilt := func(r SurveyedReplica) SurveyedReplica { r.Problem = "spoilt"; return r }
	survey := func(id string, replicas ...SurveyedReplica) Survey {
		return Survey{Format: recoveryFormat, NodeID: id, ClusterID: testID('e'), Shards: 2, Replicas: replicas}
	}
	meta := rep(0, 5, 9, all...)
	for _, tc := range []struct {
		name    string
		surveys []Survey
		accept  bool
		want    string // shard=node …
		err     error
		text    string
	}{
		{"one survivor", []Survey{survey(a, meta, rep(1, 2, 3, all...), rep(2, 2, 3, all...))}, false, "0=a 1=a 2=a", nil, ""},
		{"the greater term wins", []Survey{survey(a, meta, rep(1, 2, 99, all...), rep(2, 3, 1, all...)), survey(b, rep(1, 3, 5, all...), rep(2, 2, 50, all...))},
			false, "0=a 1=b 2=a", nil, ""},
		{"then the greater index", []Survey{survey(a, meta, rep(1, 2, 5, all...), rep(2, 2, 5, all...)), survey(b, rep(1, 2, 6, all...), rep(2, 2, 4, all...))},
			false, "0=a 1=b 2=a", nil, ""},
		{"equals are spread", []Survey{survey(a, meta, rep(1, 2, 5, all...), rep(2, 2, 5, all...)), survey(b, meta, rep(1, 2, 5, all...), rep(2, 2, 5, all...))},
			false, "0=a 1=b 2=a", nil, ""},
		{"what is spoilt does not count", []Survey{survey(a, meta, spoilt(rep(1, 9, 9, all...)), rep(2, 2, 5, all...)), survey(b, rep(1, 2, 5, all...))},
			false, "0=a 1=b 2=a", nil, ""},
		{"a shard is lost", []Survey{survey(a, meta, rep(1, 2, 5, all...))}, false, "", ErrPlan, "shard 2"},
		{"and that is accepted", []Survey{survey(a, meta, rep(1, 2, 5, all...))}, true, "0=a 1=a lost 2=a", nil, ""},
		{"the map is lost", []Survey{survey(a, rep(1, 2, 5, all...), rep(2, 2, 5, all...))}, true, "", ErrPlan, "shard 0"},
		{"a majority is there", []Survey{survey(a, rep(0, 1, 1, a, x), rep(1, 1, 1, a, b, y), rep(2, 1, 1, b, a, x)), survey(b), survey(x)}, false, "", ErrNoNeed, ""},
		{"half is no majority", []Survey{survey(a, rep(0, 1, 1, a), rep(1, 1, 1, a), rep(2, 1, 1, a, b))}, false, "0=a 1=a 2=a", nil, ""},
		{"nobody", nil, true, "", ErrPlan, "no surveys"},
		{"one twice", []Survey{survey(a, meta), survey(a, meta)}, true, "", ErrPlan, "two surveys"},
		{"two clusters", []Survey{survey(a, meta), {Format: recoveryFormat, NodeID: b, ClusterID: testID('f')}}, true, "", ErrPlan, "two clusters"},
		{"a newer format", []Survey{{Format: recoveryFormat + 1}}, true, "", ErrPlan, "format"},
	} {
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

// The map of the new cluster has the survivors, and shards where they are kept; a shard
// that is lost is founded again.
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

// stopped makes a directory of a node that was stopped in order.
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

// What a plan may not be applied to.
func TestApplyRefuses(t *testing.T) {
	dir := stopped(t)
	s, err := MakeSurvey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PlanRecovery([]Survey{s}, false); !errors.Is(err, ErrNoNeed) {
		t.Errorf("a single node that is well: %v", err)
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
	// Nothing was changed: the node starts.
	n := runNode(t, testConfig(dir))
	if err := n.end(t); err != nil {
		t.Error(err)
	}
}

// What millrace doctor says of a directory that is well, in use, or damaged.
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
		t.Errorf("a node that runs: %v", err)
	}
	if err := n.end(t); err != nil {
		t.Fatal(err)
	}
	damage := func(t *testing.T, how func(dir string) error) Checkup {
		t.Helper()
		broken := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := how(broken); err != nil {
			t.Fatal(err)
		}
		up, err := Diagnose(broken, nil)
		if err != nil {
			t.Fatal(err)
		}
		return up
	}
	replace := func(name, from, to string) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o600)
		}
	}
	alter := func(f func(id *identity)) func(string) error {
		return func(dir string) error {
			id, err := readIdentity(dir)
			if err != nil {
				return err
			}
			f(&id)
			return id.save(dir)
		}
	}
	other := testID('9')
	for name, tc := range map[string]struct {
		how  func(dir string) error
		want string
	}{
		"identity":       {replace(identityFile, "format", "fromat"), "identity"},
		"other cluster":  {alter(func(id *identity) { id.ClusterID = other }), "placement"},
		"other node":     {alter(func(id *identity) { id.NodeID = other }), "placement"},
		"cut recovery":   {func(dir string) error { return os.WriteFile(filepath.Join(dir, recoveryFile), nil, 0o600) }, "identity"},
		"no raft logs":   {func(dir string) error { return os.RemoveAll(filepath.Join(dir, raftlogDir)) }, "raft logs"},
		"logs of before": {func(dir string) error { return swapLogs(t, dir) }, "replicas"},
		"a flipped bit":  {flipTable, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			up := damage(t, tc.how)
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

// swapLogs puts the logs of a node that has done less in place of a node's own.
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
