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

// startTimeout bounds what a node in a test may take to serve; a race build on a busy
// machine is slow.
const startTimeout = 60 * time.Second

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.DataDir, c.Shards, c.MemoryBytes = dir, 1, MinMemoryBytes
	c.ClientAddr, c.PeerAddr, c.GossipAddr, c.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// running is a node that runs.
type running struct {
	*Node
	stop func()
	done chan error
}

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
			t.Fatalf("it ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// end stops the node and returns what Run returned.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		return err
	case <-time.After(startTimeout):
		t.Fatal("it does not stop")
		return nil
	}
}

// session is a client's connection.
type session struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func dial(t *testing.T, addr string) *session {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &session{t, nc, bufio.NewReader(nc)}
}

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

// goroutines fails the test, at its end, if goroutines of it live on. memberlist and
// Pebble end theirs a moment after they were closed.
func goroutines(t *testing.T) {
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

// A node that stops leaves nothing behind, whatever its clients are doing; the next
// one on its directory has what was written.
func TestStopLeavesNothing(t *testing.T) {
	goroutines(t)
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
		idle.send("XREAD BLOCK 0 STREAMS s $") // still waits when the node stops
		waitBlocked(t, n.Node)
		if err := n.end(t); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if _, err := net.DialTimeout("tcp", n.addrs.Client, time.Second); err == nil {
			t.Error("it listens on")
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

// A start that fails leaves nothing running, however far it came.
func TestOpenFailureLeavesNothing(t *testing.T) {
	goroutines(t)
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
	// And late: everything is open but the map of a node that was in a cluster.
	dir := t.TempDir()
	id := identity{Format: identityFormat, NodeID: randomID(), ClusterID: randomID()}
	if err := id.save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(dir)); ExitCode(err) != 12 {
		t.Errorf("a node of a cluster without its databases: %v", err)
	}
	// The directory is free again.
	if f, err := lockDir(dir); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

// A founder that is killed after the meta group has begun, and before the cluster is
// written down, founds it when it comes back. What the meta group does not know is
// refused before it is proposed. A removal that was cut short is finished at the start.
func TestFounderComesBack(t *testing.T) {
	goroutines(t)
	dir := filepath.Join(t.TempDir(), "data")
	n, err := Open(testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	// As decide does, without the step that follows it.
	if err := n.meta.create(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); !n.meta.leads(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the meta group has no leader")
		}
	}
	if n.meta.machine.Map() != nil {
		t.Fatal("the cluster is written down already: this shows nothing")
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}

	r := runNode(t, testConfig(dir))
	cluster := r.clusterID()
	if !placement.ValidID(cluster) || r.meta.machine.Map().ClusterID != cluster {
		t.Errorf("cluster %q, map %v", cluster, r.meta.machine.Map())
	}
	if err := r.meta.propose(context.Background(), []string{"SHARDS.FLY", "1"}); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("an unknown command: %v", err)
	}
	leader, term := r.leaders.Get(placement.MetaShard)
	answer := make(chan call.Result, 1)
	peerHandler{r.replicas, r.Node}.Submit(&call.Call{
		Shard: placement.MetaShard, Term: term, Kind: call.Write, Cmds: [][][]byte{words([]string{"SHARDS.FLY"})}, Proto: 2, TimeoutMS: 1000,
		Done: func(res call.Result) { answer <- res },
	})
	if res := <-answer; leader != r.id || res.Err != nil || !strings.HasPrefix(string(res.Reply), "-ERR unknown command") {
		t.Errorf("an unknown command from a peer: %q, %v", res.Reply, res.Err)
	}
	w := dial(t, r.addrs.Client)
	w.send("XADD s 1-1 a b")
	w.line()
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}

	// As a crash in the midst of retire would leave it.
	h := &hosting{n: &Node{cfg: testConfig(dir)}}
	err = h.destroy(retirement{Shard: 1, First: 0, Last: placement.Slots - 1}, func() error { return errors.New("power cut") })
	if err == nil || err.Error() != "power cut" {
		t.Fatal(err)
	}
	again, err := Open(testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := again.hosting.onDisk(1); kept || err != nil {
		t.Errorf("the replica is still there: %v", err)
	}
	if _, err := os.Stat(retirement{Shard: 1}.path(dir)); err == nil {
		t.Error("the mark is still there")
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}

// A page that needs a cluster says so while there is none, and the rest answers.
func TestReadyBeforeCluster(t *testing.T) {
	goroutines(t)
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

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
