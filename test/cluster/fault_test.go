package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// setFault sends DEBUG FAULT to change the rules by which a node's disk fails.
func setFault(n *Node, rule string) error {
	cl := client(n.Addr.Client)
	defer cl.Close()
	words := []any{"DEBUG", "FAULT"}
	for w := range strings.FieldsSeq(rule) {
		words = append(words, w)
	}
	if err := cl.Do(context.Background(), words...).Err(); err != nil {
		return fmt.Errorf("fault %s: %w", rule, err)
	}
	return nil
}

// fault sets a rule that the node survives.
func fault(t *testing.T, n *Node, rule string) {
	t.Helper()
	if err := setFault(n, rule); err != nil {
		t.Fatal(err)
	}
}

// fatalFault sets a rule that ends the node, possibly before it answers. The caller waits
// for the end and checks it.
func fatalFault(t *testing.T, n *Node, rule string) {
	t.Helper()
	if err := setFault(n, rule); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

// leads returns the number of shards that node n leads in the view of node by.
func leads(t *testing.T, c *Cluster, by, n *Node) int {
	t.Helper()
	st, _ := c.Status(by)
	count := 0
	for _, s := range st.Shards {
		if s.Leader == n.Addr.NodeID {
			count++
		}
	}
	return count
}

// eventually waits until ok returns true, and fails the test after HealthyTimeout.
func eventually(t *testing.T, goal string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(HealthyTimeout); !ok(); time.Sleep(5 * poll) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", goal, HealthyTimeout)
		}
	}
}

// others returns the nodes of c except n.
func others(c *Cluster, n *Node) []*Node {
	var out []*Node
	for _, o := range c.Nodes {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// resumed waits until a write to each stream has been acknowledged after this moment.
func (l *load) resumed(t *testing.T) {
	t.Helper()
	at := time.Now()
	eventually(t, "writes to all streams", func() bool {
		before := time.Now()
		took, _ := l.ledger.Resumed(at, l.streams)
		return took < before.Sub(at)
	})
}

// TestDiskFull has disks run full. A node with a nearly full disk gives up its leaderships.
// When the disks of all nodes are nearly full, commands that need room are refused with
// NOSPACE, while reads and commands that free room are served. A node whose log meets a full
// disk ends with exit code 10 and does not start until there is room; its message names the
// ballast. Nothing is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3, Faults: true})
	n := c.Nodes[1]
	rest := others(c, n)
	l := startLoad("full", 6, rest[0].Addr.Client, rest[1].Addr.Client)
	l.resumed(t)

	fault(t, n, "space 1000")
	eventually(t, "the node with the full disk leads no shard", func() bool { return leads(t, c, rest[0], n) == 0 })
	l.resumed(t)
	for _, err := range l.errors() {
		t.Errorf("a client of another node got an error: %v", err)
	}

	ctx := context.Background()
	cl := client(rest[0].Addr.Client)
	defer cl.Close()
	for _, o := range rest {
		fault(t, o, "space 1000")
	}
	add := func() error {
		return cl.XAdd(ctx, &redis.XAddArgs{Stream: "own", ID: "*", Values: []string{"p", "x"}}).Err()
	}
	eventually(t, "a write is refused with NOSPACE", func() bool {
		err := add()
		return err != nil && strings.HasPrefix(err.Error(), "NOSPACE ")
	})
	if err := cl.XTrimMaxLen(ctx, "own", 0).Err(); err != nil {
		t.Errorf("a command that makes room: %v", err)
	}
	if err := cl.XLen(ctx, "own").Err(); err != nil {
		t.Errorf("a read: %v", err)
	}
	for _, o := range c.Nodes {
		fault(t, o, "clear")
	}
	l.resumed(t)
	c.WaitHealthy()

	fatalFault(t, n, "full under=raftlog files=log ops=write")
	if code := c.Ended(n); code != 10 {
		t.Errorf("exit code %d\n%s", code, c.LogTail(n, 10))
	}
	l.resumed(t)
	rules := filepath.Join(n.Dir, "faults")
	if err := os.WriteFile(rules, []byte("full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Launch(n); err == nil || !strings.Contains(err.Error(), "exit status 10") || !strings.Contains(err.Error(), "ballast") {
		t.Errorf("started on a full disk: %v", err)
	}
	if err := os.Remove(rules); err != nil {
		t.Fatal(err)
	}
	c.Restart(n)
	l.end(t, c)
}

// TestDiskHangs has disks hang and fail. A node with a hanging disk loses its leaderships and
// ends with exit code 11; a node with a failing disk ends at once. Nothing is lost.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3, Faults: true})
	for _, tc := range []struct{ rule string }{
		{"stall under=raftlog ops=sync"},
		{"stall under=state ops=sync,write"},
		{"eio times=1 under=raftlog files=log ops=sync"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			n := c.Nodes[2]
			rest := others(c, n)
			l := startLoad(strings.ReplaceAll(tc.rule, " ", "-"), 6, rest[0].Addr.Client, rest[1].Addr.Client)
			l.resumed(t)
			eventually(t, "the node leads a shard", func() bool { return leads(t, c, rest[0], n) > 0 })
			fatalFault(t, n, tc.rule)
			if strings.HasPrefix(tc.rule, "stall under=raftlog") {
				eventually(t, "other nodes lead all shards", func() bool { return leads(t, c, rest[0], n) == 0 })
				if !n.running() {
					t.Error("the node ended before others took over")
				}
			}
			if code := c.Ended(n); code != 11 {
				t.Errorf("exit code %d\n%s", code, c.LogTail(n, 10))
			}
			l.resumed(t)
			c.Restart(n)
			l.end(t, c)
		})
	}
}

// running is Running, but false also for a process that has ended by itself.
func (n *Node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.done:
		return false
	default:
		return n.proc != nil
	}
}

// TestFlippedBit damages a log. The node refuses to start with exit code 12, each time. With
// an empty directory it joins as a new node and receives all data from the others.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3, Faults: true})
	n := c.Nodes[1]
	rest := others(c, n)
	l := startLoad("flip", 6, rest[0].Addr.Client, rest[1].Addr.Client)
	l.resumed(t)
	// Write enough that the damage is far from the end of the log. At the end it would look
	// like a write that was cut short.
	value := strings.Repeat("x", 1000)
	cl := client(rest[0].Addr.Client)
	defer cl.Close()
	for i := range 600 {
		if err := cl.XAdd(context.Background(), &redis.XAddArgs{Stream: fmt.Sprint("big", i%9), Values: []string{"p", value}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.Kill(n)
	flipBit(t, largest(t, filepath.Join(n.Dir, "raftlog", "*.log")))
	for range 2 {
		if err := c.Launch(n); err == nil || !strings.Contains(err.Error(), "exit status 12") {
			t.Fatalf("started on a damaged log: %v", err)
		}
	}
	l.resumed(t)

	old := n.Addr.NodeID
	if err := os.RemoveAll(n.Dir); err != nil {
		t.Fatal(err)
	}
	c.Restart(n)
	if n.Addr.NodeID == old {
		t.Error("an empty directory has the ID of the old one")
	}
	if err := cl.Do(context.Background(), "CLUSTER", "FORGET", old).Err(); err != nil {
		t.Fatal(err)
	}
	l.end(t, c)
	if st, err := c.Status(rest[0]); err != nil || len(st.Nodes) != 3 {
		t.Errorf("%d nodes, %v", len(st.Nodes), err)
	}
}

// largest returns the largest file that matches pattern.
func largest(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	best, size := "", int64(-1)
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Size() > size {
			best, size = p, info.Size()
		}
	}
	return best
}

// flipBit flips a bit after a third of the used part of a file. Logs are preallocated, so
// their end is unused.
func flipBit(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(strings.TrimRight(string(b), "\x00"))
	b[used/3] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
