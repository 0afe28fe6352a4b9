package shard

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/call"
	"millrace/raftlog"
	"millrace/raftlog/disk"
)

// closed stops all nodes and opens the disk of one.
func (c *testCluster) closed(id string) *testNode {
	c.t.Helper()
	c.closeAll()
	n := c.nodes[id]
	var err error
	if n.log, err = raftlog.Open("raftlog", raftlog.Options{FS: n.fs}); err != nil {
		c.t.Fatal(err)
	}
	if n.state, err = disk.Open("state", disk.Options{Name: "state", FS: n.fs}); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// config returns the configuration for tools that work on a node that does not run.
func (n *testNode) config() Config {
	return Config{
		ID: testShard, NodeID: n.id, LastSlot: 99, Machine: newListMachine(0), Log: n.log.Store(testShard), State: n.state.DB,
		StagingDir: "staging", FS: n.fs,
	}
}

func (n *testNode) part(t *testing.T) *raftlog.Part {
	t.Helper()
	parts, err := n.log.Check(func(_ uint32, text string) { t.Error(text) }, nil)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	return &parts[0]
}

// A survivor is forced to go on alone, with all acknowledged writes and with those that
// were on their way when the others were lost. It can be forced again, and the shard
// begins with a snapshot.
func TestForce(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Timing.LogStall = testPatience }
	c.startAll()
	l := c.leader()
	for range 20 {
		l.mustDo(t, call.Write, "APPEND", "k", "acknowledged")
	}
	c.net.isolate(l.id, c.ids, true, true)
	on, done := newCall(call.Write, l.shard.lead.leads(), "APPEND", "k", "on its way")
	before := l.shard.Status().LastIndex
	l.shard.Submit(on)
	c.eventually("the write is in the leader's log", func() bool { return l.shard.Status().LastIndex > before })
	n := c.closed(l.id)
	if r := <-done; !errors.Is(r.Err, call.ErrInDoubt) {
		t.Fatalf("%+v", r)
	}
	end := n.part(t)
	if err := Inspect(n.config(), end); err != nil {
		t.Errorf("a replica that stopped: %v", err)
	}
	changes := 0
	for range 2 {
		if err := Force(n.config(), func(*pebble.Batch) error { changes++; return nil }); err != nil {
			t.Fatal(err)
		}
		p := n.part(t)
		term, index := p.End()
		wantTerm, wantIndex := end.End()
		if p.Records != 0 || term != wantTerm || index != wantIndex || len(p.Configuration.Servers) != 1 {
			t.Errorf("forced: %+v, before %+v", p, end)
		}
		if err := Inspect(n.config(), p); err != nil {
			t.Errorf("a forced replica: %v", err)
		}
	}
	if changes != 2 {
		t.Errorf("%d changes", changes)
	}
	if err := errors.Join(n.log.Close(), n.state.Close()); err != nil {
		t.Fatal(err)
	}
	n.log, n.state = nil, nil
	c.start(l.id)
	n = c.leader(l.id)
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":21\r\n" {
		t.Errorf("%q entries", got)
	}
	// A replica that joins gets all of it.
	c.net.isolate(l.id, c.ids, false, false)
	c.ids = append(c.ids, "d")
	c.founders = nil
	c.start("d")
	if err := n.shard.AddNonvoter(background(t), "d", 0); err != nil {
		t.Fatal(err)
	}
	n.mustDo(t, call.Write, "APPEND", "k", "after")
	c.converge(l.id, "d")
}

// A survivor that has fewer records gives its replica up, and keeps the term it has come
// to.
func TestForget(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	c.fillOne()
	term := c.leader().shard.Status().Term
	n := c.closed("b")
	if err := Forget(n.config()); err != nil {
		t.Fatal(err)
	}
	if got, err := n.log.Store(testShard).GetUint64([]byte("CurrentTerm")); got < term || err != nil {
		t.Errorf("term %d, was %d: %v", got, term, err)
	}
	if p := n.part(t); p.Records != 0 || p.Marker != nil {
		t.Errorf("%+v", p)
	}
	cfg := n.config()
	if out := dumpRange(t, n.state.DB, newShared(&cfg).lo, newShared(&cfg).hi); len(out) != 0 {
		t.Errorf("left: %s", out)
	}
}

// Inspect names the reasons for which replicas would not open.
func TestInspect(t *testing.T) {
	c := newTestCluster(t, "a")
	c.tune = func(id string, cfg *Config) {
		smallLogs(20)(id, cfg)
		cfg.Timing.Watch = 10 * time.Millisecond
	}
	c.startAll()
	c.fill(60, 10)
	c.truncated("a", 5)
	n := c.closed("a")
	p := *n.part(t)
	for name, tc := range map[string]struct {
		change func(p *raftlog.Part)
		want   error
	}{
		"as it is":             {func(*raftlog.Part) {}, nil},
		"state behind":         {func(p *raftlog.Part) { p.Marker.Applied = p.Last + 9 }, ErrStateBehind},
		"log lost":             {func(p *raftlog.Part) { p.First, p.Last, p.Marker = 0, 0, nil }, ErrLogBehind},
		"head of the log lost": {func(p *raftlog.Part) { p.First = p.Marker.Index + 2 }, ErrLogGap},
		"staged files lost":    {func(p *raftlog.Part) { p.Marker.Applied, p.Marker.Staged = p.Last+9, "gone" }, ErrStaged},
	} {
		broken := p
		m := *p.Marker
		broken.Marker = &m
		tc.change(&broken)
		if err := Inspect(n.config(), &broken); !errors.Is(err, tc.want) || err != nil && strings.Count(err.Error(), "shard:") > 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
