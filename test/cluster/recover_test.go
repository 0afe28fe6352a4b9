package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/node"
)

// acked waits until so many writes have been acknowledged.
func (l *load) acked(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " writes are acknowledged"), func() bool {
		got, _, _, _ := l.ledger.Counts()
		return got >= want
	})
}

// toFile runs the server's binary, whose output goes to a file.
func toFile(t *testing.T, path string, args ...string) {
	t.Helper()
	code, out := Exec(t, args...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, out)
	}
	if i := strings.Index(out, "{"); i > 0 {
		out = out[i:] // what was said on the other stream
	}
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a node's directory.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// recoverFrom goes through docs/recovery.md with the survivors, which are stopped.
func recoverFrom(t *testing.T, survivors ...*Node) {
	t.Helper()
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.json")
	args := []string{"recover", "plan"}
	for i, n := range survivors {
		path := filepath.Join(dir, fmt.Sprintf("survey-%d.json", i+1))
		toFile(t, path, "recover", "survey", "--data", n.Dir)
		args = append(args, path)
	}
	toFile(t, plan, args...)
	for _, n := range survivors {
		for range 2 { // again does no harm
			if code, out := Exec(t, "recover", "apply", "--data", n.Dir, "--plan", plan); code != 0 {
				t.Fatalf("apply: exit code %d: %s", code, out)
			}
		}
	}
}

// checkup runs millrace doctor, which must find nothing.
func checkup(t *testing.T, n *Node) {
	t.Helper()
	code, out := Exec(t, "doctor", "--data", n.Dir, "-o", "json")
	var up node.Checkup
	if err := json.Unmarshal([]byte(out), &up); err != nil || code != 0 || !up.Healthy || len(up.Replicas) == 0 {
		t.Errorf("doctor: exit code %d, %v: %s", code, err, out)
	}
}

// skipIfShort skips what has nothing to do for the race detector: tools that run alone,
// and nodes that refuse to start.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes long, and nothing in it is concurrent")
	}
}

// Of three nodes two are lost for good. The third goes on alone with everything it has,
// takes writes, and the cluster grows back to three; what was lost cannot come back.
func TestRecoverFromOne(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	c := Start(t, Options{Shards: 3})
	n := c.Nodes[0]
	lost := others(c, n)
	l := startLoad("before", 6, c.Addrs()...)
	l.acked(t, 300)
	l.end(t, c) // all have everything
	for _, o := range c.Nodes {
		c.Kill(o)
	}
	for _, o := range c.Nodes {
		checkup(t, o)
	}
	back := lost[0].Dir + "-back"
	copyDir(t, lost[0].Dir, back)
	for _, o := range lost {
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
	}

	c.Restart(n)
	cl := client(n.Addr.Client)
	defer cl.Close()
	add := func() error {
		return cl.XAdd(context.Background(), &redis.XAddArgs{Stream: "after", Values: []string{"p", "x"}}).Err()
	}
	if err := add(); err == nil || !notDone(err) {
		t.Fatalf("a minority took a write, or cannot tell: %v", err)
	}
	c.Kill(n)
	recoverFrom(t, n)
	checkup(t, n)

	c.Restart(n)
	c.WaitHealthy()
	for _, s := range l.streams {
		if err := cl.XLen(context.Background(), s).Err(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	checkReplica(t, l.ledger, "the survivor", n, l.streams)
	if err := add(); err != nil {
		t.Errorf("a write: %v", err)
	}

	copyDir(t, back, lost[0].Dir)
	if err := c.Launch(lost[0]); err == nil {
		if code := c.Ended(lost[0]); code != 1 || !strings.Contains(c.LogTail(lost[0], 3), "another cluster") {
			t.Errorf("what was lost came back: exit code %d\n%s", code, c.LogTail(lost[0], 10))
		}
	}
	for _, o := range lost {
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
		c.Restart(o)
	}
	waitReplicas(t, c, 3)
	after := startLoad("grown", 6, c.Addrs()...)
	after.acked(t, 100)
	after.end(t, c)
	for i, o := range c.Nodes {
		checkReplica(t, l.ledger, fmt.Sprintf("node %d", i+1), o, l.streams)
	}
	for _, p := range l.ledger.Problems() {
		t.Error(p)
	}
}

// Of five nodes three are lost. Each shard goes on from the survivor that has most of
// it; a node whose recovery was cut short does not start.
func TestRecoverFromTwo(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	c := Start(t, Options{Nodes: 5, Shards: 4, Args: []string{"--replicas", "5"}})
	l := startLoad("five", 6, c.Addrs()...)
	l.acked(t, 300)
	l.end(t, c)
	survivors := c.Nodes[:2]
	for _, n := range c.Nodes {
		c.Kill(n)
	}
	recoverFrom(t, survivors...)
	c.Nodes = survivors

	mark := filepath.Join(c.Nodes[1].Dir, "recovery.json")
	if err := os.WriteFile(mark, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Launch(c.Nodes[1]); err == nil || !strings.Contains(err.Error(), "recovery was cut short") {
		t.Errorf("it started: %v", err)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		c.Restart(n)
	}
	eventually(t, "two voters of each shard", func() bool {
		st, err := c.Status(c.Nodes[0])
		for _, s := range st.Shards[min(1, len(st.Shards)):] { // the meta group keeps to odd numbers
			if len(s.Replicas) != 2 || !s.Replicas[0].Voter || !s.Replicas[1].Voter {
				return false
			}
		}
		return err == nil && len(st.Shards) == 5
	})
	more := startLoad("two", 6, c.Addrs()...)
	more.acked(t, 100)
	more.end(t, c)
	for i, n := range c.Nodes {
		checkReplica(t, l.ledger, fmt.Sprintf("survivor %d", i+1), n, l.streams)
	}
	for _, p := range l.ledger.Problems() {
		t.Error(p)
	}
}
