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

// setFault changes the rules by which a node's disk fails: see DEBUG FAULT.
func setFault(n *Node, rule string) error {
	cl := client(n.Addr.Client)
	defer cl.Close()
	words := []any{"DEBUG", "FAULT"}
	for _, w := range strings.Fields(rule) {
		words = append(words, w)
	}
	if err := cl.Do(context.Background(), words...).Err(); err != nil {
		return fmt.Errorf("fault %s: %w", rule, err)
	}
	return nil
}

// fault sets a rule that a node lives with.
func fault(t *testing.T, n *Node, rule string) {
	t.Helper()
	if err := setFault(n, rule); err != nil {
		t.Fatal(err)
	}
}

// fatalFault sets a rule that ends the node, maybe before it has answered: the caller
// waits for the end and looks at it.
func fatalFault(t *testing.T, n *Node, rule string) {
	t.Helper()
	if err := setFault(n, rule); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

// leads returns how many shards node n leads, by the word of node by.
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

// eventually waits for what must come to be.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(HealthyTimeout); !ok(); time.Sleep(5 * poll) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, HealthyTimeout)
		}
	}
}

// others returns the nodes of c but n.
func others(c *Cluster, n *Node) []*Node {
	var out []*Node
	for _, o := range c.Nodes {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// resumed waits until every stream has had a write acknowledged since now.
func (l *load) resumed(t *testing.T) {
	t.Helper()
	at := time.Now()
	eventually(t, "writes to all streams", func() bool {
		before := time.Now()
		took, _ := l.ledger.Resumed(at, l.streams)
		return took < before.Sub(at)
	})
}

// A node whose disk is nearly full leads nothing any more; when all are, commands that
// need room are refused by a name of their own, and those that make room are done. A
// log that meets a full disk ends its node with 10, which cannot start before there is
// room, says what to do, and loses nothing.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3, Faults: true})
	n := c.Nodes[1]
	rest := others(c, n)
	l := startLoad("full", 6, rest[0].Addr.Client, rest[1].Addr.Client)
	l.resumed(t)

	fault(t, n, "space 1000")
	eventually(t, "the node with a full disk leads nothing", func() bool { return leads(t, c, rest[0], n) == 0 })
	l.resumed(t)
	for _, err := range l.errors() {
		t.Errorf("a client of another node was told: %v", err)
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
	eventually(t, "a write is refused by name", func() bool {
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

// A disk that hangs takes the leaderships off its node, and ends it with 11; a disk that
// fails once ends it at once. Nothing is lost.
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
			eventually(t, "the node leads something", func() bool { return leads(t, c, rest[0], n) > 0 })
			fatalFault(t, n, tc.rule)
			if strings.HasPrefix(tc.rule, "stall under=raftlog") {
				eventually(t, "others lead what the hanging node led", func() bool { return leads(t, c, rest[0], n) == 0 })
				if !n.running() {
					t.Error("it ended before others led")
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

// running reports whether the process has not ended by itself either.
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

// A node that reads what was not written ends with 12, and does so again; an empty
// directory in its place gets everything from the others.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3, Faults: true})
	n := c.Nodes[1]
	rest := others(c, n)
	l := startLoad("flip", 6, rest[0].Addr.Client, rest[1].Addr.Client)
	l.resumed(t)
	// So much that the damage is far from the end of a log: there it looks like a write
	// that was cut short.
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

// largest returns the largest of the files that match.
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

// flipBit flips a bit at a third of a file: logs are longer than what is in them.
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
