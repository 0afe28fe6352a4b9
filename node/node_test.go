package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/call"
	"millrace/placement"
)

// startTimeout is the longest that a test waits for a node. It is generous, because a race
// build on a busy machine is slow.
const startTimeout = 60 * time.Second

// testConfig returns the configuration of a node that founds a cluster with one shard.
func testConfig(dir string) Config {
	c := DefaultConfig()
	c.DataDir, c.Shards, c.MemoryBytes = dir, 1, MinMemoryBytes
	c.ClientAddr, c.PeerAddr, c.GossipAddr, c.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// running is a node whose Run has been started.
type running struct {
	*Node
	stop func()
	done chan error
}

// runNode opens and runs a node, and waits until it serves clients.
func runNode(t *testing.T, c Config) *running {
	t.Helper()
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{n, stop, make(chan error, 1)}
	go func() { r.done <- n.Run(ctx) }()
	t.Cleanup(func() { stop() })
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		err := n.Ready()
		if err == nil {
			return r
		}
		select {
		case err := <-r.done:
			t.Fatalf("the node ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// end stops the node and returns the error of Run.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		return err
	case <-time.After(startTimeout):
		t.Fatal("the node does not stop")
		return nil
	}
}

// session is a client's connection.
type session struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// dial connects a client to addr.
func dial(t *testing.T, addr string) *session {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &session{t, nc, bufio.NewReader(nc)}
}

// send sends an inline command.
func (s *session) send(line string) {
	s.t.Helper()
	if _, err := s.nc.Write([]byte(line + "\r\n")); err != nil {
		s.t.Fatal(err)
	}
}

// line reads one line of a reply.
func (s *session) line() string {
	s.t.Helper()
	s.nc.SetReadDeadline(time.Now().Add(startTimeout))
	l, err := s.r.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimRight(l, "\r\n")
}

// checkGoroutines makes the test fail if goroutines that it started are left at its end.
// Goroutines of memberlist and Pebble end a moment after these were closed.
func checkGoroutines(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if err = goleak.Find(before); err == nil {
				return
			}
		}
		t.Error(err)
	})
}

// TestStopLeavesNothing stops a node while a client is idle and another one is blocked. No
// goroutine is left, and the next node on the directory has all data.
func TestStopLeavesNothing(t *testing.T) {
	checkGoroutines(t)
	dir := filepath.Join(t.TempDir(), "data")
	for round := range 2 {
		n := runNode(t, testConfig(dir))
		writer, blocked, idle := dial(t, n.addrs.Client), dial(t, n.addrs.Client), dial(t, n.addrs.Client)
		idle.send("PING")
		if got := idle.line(); got != "+PONG" {
			t.Fatal(got)
		}
		blocked.send("XREAD BLOCK 0 STREAMS s $")
		waitBlocked(t, n.Node)
		writer.send(fmt.Sprintf("XADD s %d-1 round %d", round+1, round))
		if got := writer.line(); got != "$3" {
			t.Fatal(got)
		}
		if got := blocked.line(); got != "*1" {
			t.Fatal(got)
		}
		writer.send("XLEN s")
		writer.line() // the ID
		if got := writer.line(); got != fmt.Sprintf(":%d", round+1) {
			t.Errorf("round %d: %s entries", round, got)
		}
		idle.send("XREAD BLOCK 0 STREAMS s $") // still blocked when the node stops
		waitBlocked(t, n.Node)
		if err := n.end(t); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if _, err := net.DialTimeout("tcp", n.addrs.Client, time.Second); err == nil {
			t.Error("the stopped node still listens")
		}
	}
}

// waitBlocked waits until a call is blocked in shard 1.
func waitBlocked(t *testing.T, n *Node) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); n.replicas.get(1).Status().Waiters != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call does not block")
		}
	}
}

// TestOpenFailureLeavesNothing makes Open fail at several steps. No goroutine, listener or
// lock is left.
func TestOpenFailureLeavesNothing(t *testing.T) {
	checkGoroutines(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for setting, set := range map[string]func(*Config, string){
		"client-addr": func(c *Config, a string) { c.ClientAddr = a },
		"peer-addr":   func(c *Config, a string) { c.PeerAddr = a },
		"gossip-addr": func(c *Config, a string) { c.GossipAddr = a },
		"http-addr":   func(c *Config, a string) { c.HTTPAddr = a },
	} {
		dir := t.TempDir()
		c := testConfig(dir)
		set(&c, taken.Addr().String())
		if _, err := Open(c); err == nil || !strings.HasPrefix(err.Error(), setting+":") {
			t.Errorf("%s: %v", setting, err)
		}
		if _, err := os.Stat(filepath.Join(dir, raftlogDir)); err == nil {
			t.Errorf("%s: databases were made", setting)
		}
	}
	// A late failure: the databases open, but the logs of a node in a cluster are missing.
	dir := t.TempDir()
	id := identity{Format: identityFormat, NodeID: randomID(), ClusterID: randomID()}
	if err := id.save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(dir)); ExitCode(err) != 12 {
		t.Errorf("a node of a cluster without its databases: %v", err)
	}
	// The directory is unlocked again.
	if f, err := lockDir(dir); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

// TestFounderComesBack kills a node after it has started the meta group, but before the
// cluster is in it. The next process on the directory creates the cluster.
func TestFounderComesBack(t *testing.T) {
	checkGoroutines(t)
	dir := filepath.Join(t.TempDir(), "data")
	n, err := Open(testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.meta.create(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); !n.meta.leads(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the meta group has no leader")
		}
	}
	if n.meta.machine.Map() != nil {
		t.Fatal("the cluster was created too early for this test")
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	r := runNode(t, testConfig(dir))
	cluster := r.clusterID()
	if !placement.ValidID(cluster) || r.meta.machine.Map().ClusterID != cluster {
		t.Errorf("cluster %q, map %v", cluster, r.meta.machine.Map())
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// TestUnknownMetaCommand shows that a command unknown to the meta group is refused before it
// is proposed, whether it comes from this node or from a peer.
func TestUnknownMetaCommand(t *testing.T) {
	r := runNode(t, testConfig(filepath.Join(t.TempDir(), "data")))
	if err := r.meta.propose(context.Background(), []string{"SHARDS.FLY", "1"}); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("from this node: %v", err)
	}
	leader, term := r.leaders.Get(placement.MetaShard)
	answer := make(chan call.Result, 1)
	peerHandler{r.replicas, r.Node}.Submit(&call.Call{
		Shard: placement.MetaShard, Term: term, Kind: call.Write, Cmds: [][][]byte{words([]string{"SHARDS.FLY"})}, Proto: 2, TimeoutMS: 1000,
		Done: func(res call.Result) { answer <- res },
	})
	if res := <-answer; leader != r.id || res.Err != nil || !strings.HasPrefix(string(res.Reply), "-ERR unknown command") {
		t.Errorf("from a peer: %q, %v", res.Reply, res.Err)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// TestRemovalIsFinished interrupts the removal of a replica after the mark is set. The next
// start finishes the removal.
func TestRemovalIsFinished(t *testing.T) {
	checkGoroutines(t)
	dir := filepath.Join(t.TempDir(), "data")
	r := runNode(t, testConfig(dir))
	w := dial(t, r.addrs.Client)
	w.send("XADD s 1-1 a b")
	w.line()
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	h := &hosting{n: &Node{cfg: testConfig(dir)}}
	err := h.destroy(retirement{Shard: 1, First: 0, Last: placement.Slots - 1}, func() error { return errors.New("power cut") })
	if err == nil || err.Error() != "power cut" {
		t.Fatal(err)
	}
	n, err := Open(testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := n.hosting.onDisk(1); kept || err != nil {
		t.Errorf("the replica is still there: %v", err)
	}
	if _, err := os.Stat(retirement{Shard: 1}.path(dir)); err == nil {
		t.Error("the mark is still there")
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
}

// TestReadyBeforeCluster asks a node that waits for other nodes. It is not ready, its status
// is not healthy, and a call to the meta group ends in time.
func TestReadyBeforeCluster(t *testing.T) {
	checkGoroutines(t)
	c := testConfig(t.TempDir())
	c.BootstrapExpect = 3
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); !errors.Is(err, errNotReady) {
		t.Errorf("ready: %v", err)
	}
	st := n.Status(context.Background())
	if st.Healthy || len(st.Problems) == 0 || st.ClusterID != "" || len(st.Shards) != 0 {
		t.Errorf("%+v", st)
	}
	if _, err := n.caller.do(expired(), placement.MetaShard, call.Admin, []byte("STATUS")); err == nil {
		t.Error("a meta group without a leader answers")
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
}

// expired returns a context that has ended.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
