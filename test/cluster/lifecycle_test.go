package cluster

import (
	"fmt"
	"testing"
	"time"
)

// TestStopAndMove stops a node in order. It hands over its leaderships first, so that clients
// of the other nodes get no error. Later it starts again on other ports and rejoins.
func TestStopAndMove(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 3})
	gone := c.Leader(c.Nodes[0], 0) // the meta group's leader, which also runs the controller
	if gone == nil {
		t.Fatal("the meta group has no leader")
	}
	var others []string
	for _, n := range c.Nodes {
		if n != gone {
			others = append(others, n.Addr.Client)
		}
	}
	l := startLoad("move", 12, append(others, others...)...)
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	code := c.Terminate(gone)
	t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, c.LogTail(gone, 20))
	}
	time.Sleep(500 * time.Millisecond)
	for _, err := range l.errors() {
		t.Errorf("a client of another node got an error: %v", err)
	}
	old := gone.Addr
	c.Move(gone)
	if gone.Addr.NodeID != old.NodeID || gone.Addr.Client == old.Client || gone.Addr.Peer == old.Peer || gone.Addr.Gossip == old.Gossip {
		t.Fatalf("it did not move: %+v, before %+v", gone.Addr, old)
	}
	c.WaitHealthy()
	for _, n := range c.Nodes {
		knows := func() (string, bool) {
			st, err := c.Status(n)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range st.Nodes {
				if m.ID == gone.Addr.NodeID {
					return fmt.Sprintf("%+v", m), m.ClientAddr == gone.Addr.Client && m.PeerAddr == gone.Addr.Peer
				}
			}
			return "nothing", false
		}
		// The node's replica of the map follows the leader's, so this may take a moment.
		for deadline := time.Now().Add(HealthyTimeout); ; time.Sleep(poll) {
			seen, ok := knows()
			if ok {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("node %d sees %s, want %+v", n.Index+1, seen, gone.Addr)
				break
			}
		}
	}
	l.end(t, c)
}

// TestSingleNodeKilled shows that a cluster of one node loses no acknowledged write when the
// node is killed.
func TestSingleNodeKilled(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 1, Shards: 2})
	n := c.Nodes[0]
	l := startLoad("single", 4, n.Addr.Client, n.Addr.Client)
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		c.Kill(n)
		c.Restart(n)
		c.WaitHealthy()
	}
	time.Sleep(300 * time.Millisecond)
	l.end(t, c)
}

// TestGrow grows a cluster from one node to three while clients write. Every shard gets three
// replicas, and nothing is lost.
func TestGrow(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 1, Expect: 1, Shards: 3})
	first := c.Nodes[0].Addr.Client
	l := startLoad("grow", 6, first, first)
	for range 2 {
		time.Sleep(200 * time.Millisecond)
		c.Add()
	}
	waitReplicas(t, c, 3)
	for _, err := range l.errors() {
		t.Errorf("the writer got an error: %v", err)
	}
	l.end(t, c)
	st, err := c.Status(c.Nodes[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st.Shards {
		if s.Leader == "" || len(s.Replicas) != 3 {
			t.Errorf("shard %d: %+v", s.ID, s)
		}
	}
}

// TestNewcomerGetsReplicas adds a node to three others while clients write. It gets its share
// of the replicas, and nothing is lost.
func TestNewcomerGetsReplicas(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 3, Shards: 4})
	first := c.Nodes[0].Addr.Client
	l := startLoad("join", 6, first, c.Nodes[1].Addr.Client)
	c.Add()
	var counts map[string]int
	for deadline := time.Now().Add(HealthyTimeout); ; time.Sleep(5 * poll) {
		waitReplicas(t, c, 3)
		st, err := c.Status(c.Nodes[0])
		counts = map[string]int{}
		for _, s := range st.Shards {
			for _, r := range s.Replicas {
				if s.ID != 0 {
					counts[r.Node]++
				}
			}
		}
		even := err == nil && len(counts) == 4
		for _, n := range counts {
			even = even && n == 3 // 4 shards have 12 replicas
		}
		if even {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("replicas of each node: %v\n%s", counts, c.LogTail(c.Nodes[0], 40))
		}
	}
	for _, err := range l.errors() {
		t.Errorf("the writer got an error: %v", err)
	}
	l.end(t, c)
}

// waitReplicas waits until every shard has want voters that answer.
func waitReplicas(t *testing.T, c *Cluster, want int) {
	t.Helper()
	for deadline := time.Now().Add(HealthyTimeout); ; time.Sleep(5 * poll) {
		st, err := c.Status(c.Nodes[0])
		fewest := want
		for _, s := range st.Shards {
			voters := 0
			for _, r := range s.Replicas {
				if r.Voter && r.Reached {
					voters++
				}
			}
			fewest = min(fewest, voters)
		}
		if err == nil && fewest == want && len(st.Shards) > 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a shard has %d voters after %v: %+v %v\n%s", fewest, HealthyTimeout, st, err, c.LogTail(c.Nodes[0], 40))
		}
	}
}
