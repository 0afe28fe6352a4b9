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

// acked waits until want writes have been acknowledged.
func (l *load) acked(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " writes are acknowledged"), func() bool {
		got, _, _, _ := l.ledger.Counts()
		return got >= want
	})
}

// toFile runs the millrace binary and writes its output to a file.
func toFile(t *testing.T, path string, args ...string) {
	t.Helper()
	code, out := Exec(t, args...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, out)
	}
	if i := strings.Index(out, "{"); i > 0 {
		out = out[i:] // cut off the text on standard error
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

// recoverFrom follows docs/recovery.md for the survivors, which must be stopped.
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
		for range 2 { // a repetition does no harm
			if code, out := Exec(t, "recover", "apply", "--data", n.Dir, "--plan", plan); code != 0 {
				t.Fatalf("apply: exit code %d: %s", code, out)
			}
		}
	}
}

// checkup runs millrace doctor, which must find no problem.
func checkup(t *testing.T, n *Node) {
	t.Helper()
	code, out := Exec(t, "doctor", "--data", n.Dir, "-o", "json")
	var up node.Checkup
	if err := json.Unmarshal([]byte(out), &up); err != nil || code != 0 || !up.Healthy || len(up.Replicas) == 0 {
		t.Errorf("doctor: exit code %d, %v: %s", code, err, out)
	}
}

// skipIfShort skips a long test in which nothing runs concurrently, so that the race detector
// has nothing to find: of tools that run alone, and of nodes that refuse to start.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a long test in which nothing runs concurrently")
	}
}

// TestRecoverFromOne loses two of three nodes for good. The third continues alone with all
// data and takes writes, and the cluster grows back to three nodes. A lost node that comes
// back with its old directory is refused.
func TestRecoverFromOne(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	c := Start(t, Options{Shards: 3})
	n := c.Nodes[0]
	lost := others(c, n)
	l := startLoad("before", 6, c.Addrs()...)
	l.acked(t, 300)
	l.end(t, c) // every node has all entries
	for _, o := range c.Nodes {
		c.Kill(o)
	}
	for _, o := range c.Nodes {
		checkup(t, o)
	}
	kept := lost[0].Dir + "-kept"
	copyDir(t, lost[0].Dir, kept)
	removeDirs(t, lost...)

	c.Restart(n)
	if err := addAfter(n); err == nil || !notDone(err) {
		t.Fatalf("a minority took a write, or left its outcome open: %v", err)
	}
	c.Kill(n)
	recoverFrom(t, n)
	checkup(t, n)

	c.Restart(n)
	c.WaitHealthy()
	checkReplica(t, l.ledger, "the survivor", n, l.streams)
	if err := addAfter(n); err != nil {
		t.Errorf("a write: %v", err)
	}
	checkReturnRefused(t, c, lost[0], kept)
	removeDirs(t, lost...)
	for _, o := range lost {
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

// addAfter adds an entry through node n.
func addAfter(n *Node) error {
	cl := client(n.Addr.Client)
	defer cl.Close()
	return cl.XAdd(context.Background(), &redis.XAddArgs{Stream: "after", Values: []string{"p", "x"}}).Err()
}

// removeDirs removes the data directories of nodes.
func removeDirs(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		if err := os.RemoveAll(n.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

// checkReturnRefused starts n with the directory that it had when it was lost. It must end
// by itself, because the survivors form another cluster now.
func checkReturnRefused(t *testing.T, c *Cluster, n *Node, kept string) {
	t.Helper()
	copyDir(t, kept, n.Dir)
	if err := c.Launch(n); err != nil {
		return // it ended before it listened
	}
	if code := c.Ended(n); code != 1 || !strings.Contains(c.LogTail(n, 3), "another cluster") {
		t.Errorf("a lost node came back: exit code %d\n%s", code, c.LogTail(n, 10))
	}
}

// TestRecoverFromTwo loses three of five nodes. Each shard continues from the survivor with
// the longest log. A node whose recovery was cut short refuses to start.
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
		for _, s := range st.Shards[min(1, len(st.Shards)):] { // the meta group has an odd number of voters
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
