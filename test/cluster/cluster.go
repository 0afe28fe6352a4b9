package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/node"
)

// Bounds of what a cluster in a test may take. A race build on two busy cores is slow.
const (
	ListenTimeout  = 60 * time.Second
	HealthyTimeout = 90 * time.Second
	StopTimeout    = 30 * time.Second
	poll           = 20 * time.Millisecond
)

// Options says what kind of cluster a test wants.
type Options struct {
	Nodes  int      // 3 when zero
	Expect int      // --bootstrap-expect; Nodes when zero
	Shards int      // the default of a server when zero
	Args   []string // more arguments for every server
	Faults bool     // servers whose disks fail on demand: see DEBUG FAULT
	// Hosts, if set, says where the node of an index runs. Without it all run on
	// loopback, on ports of the system's choice.
	Hosts func(index int) Host
}

// Host is where a node runs.
type Host struct {
	Addr  node.Addresses            // where it listens
	Dir   string                    // its data; empty: below the cluster's directory
	Args  []string                  // more arguments for this server
	Start func(cmd *exec.Cmd) error // starts its process; nil: as usual
}

// Cluster is a set of server processes. Its methods belong to the test's goroutine
// unless they say otherwise.
type Cluster struct {
	Nodes []*Node
	tb    testing.TB // nil for a cluster of New: then only what returns errors may be called
	bin   string
	dir   string
	opt   Options
}

// Node is one server process, or the place of one that was killed. Its addresses stay
// the same over restarts; its identity is that of its directory, and a new one after
// Empty.
type Node struct {
	Index int
	Dir   string
	Addr  node.Addresses

	host    Host
	emptied bool // since its first start: whichever other node it finds, it joins by that

	mu   sync.Mutex
	id   string        // of the identity it has now
	proc *exec.Cmd     // nil while it does not run
	done chan struct{} // closed when proc has ended
}

// binary builds the server once for all tests of a process, and faultyBinary the one
// whose disks fail on demand.
var (
	binary       = sync.OnceValues(func() (string, error) { return build("") })
	faultyBinary = sync.OnceValues(func() (string, error) { return build("faults") })
)

func build(tags string) (string, error) {
	dir, err := os.MkdirTemp("", "millrace-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "millrace")
	if err := Build(bin, "-tags", tags); err != nil {
		return "", err
	}
	built.Lock()
	defer built.Unlock()
	built.dirs = append(built.dirs, dir)
	return bin, nil
}

// built is where the binaries are that RunMain removes.
var built struct {
	sync.Mutex
	dirs []string
}

// Build builds the server, with the race detector where this program has it.
func Build(bin string, flags ...string) error {
	args := append(append([]string{"build", "-o", bin}, raceFlags...), flags...)
	out, err := exec.Command("go", append(args, "millrace/cmd/millrace")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

// New returns a cluster whose server is bin and whose files are below dir. No process
// is started. It is for programs that are no tests: they use what returns errors, and
// Close.
func New(bin, dir string, o Options) *Cluster {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Expect == 0 {
		o.Expect = o.Nodes
	}
	c := &Cluster{bin: bin, dir: dir, opt: o}
	for range o.Nodes {
		c.place()
	}
	return c
}

// place makes room for one more node.
func (c *Cluster) place() *Node {
	n := &Node{Index: len(c.Nodes), Dir: filepath.Join(c.dir, fmt.Sprintf("node%d", len(c.Nodes)+1))}
	if c.opt.Hosts != nil {
		n.host = c.opt.Hosts(n.Index)
		n.Addr = n.host.Addr
		if n.host.Dir != "" {
			n.Dir = n.host.Dir
		}
	}
	c.Nodes = append(c.Nodes, n)
	return n
}

// RunMain runs the tests of a package that starts clusters, then removes the binary
// they were built with.
func RunMain(m *testing.M) int {
	code := m.Run()
	for _, dir := range built.dirs {
		_ = os.RemoveAll(dir)
	}
	return code
}

// Start starts a cluster and waits until it is healthy. It ends with the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Expect == 0 {
		o.Expect = o.Nodes
	}
	builder := binary
	if o.Faults {
		builder = faultyBinary
		o.Args = append([]string{"--enable-debug"}, o.Args...)
	}
	bin, err := builder()
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{tb: tb, bin: bin, dir: tb.TempDir(), opt: o}
	tb.Cleanup(c.stop)
	for range o.Nodes {
		c.Add()
	}
	c.WaitHealthy()
	return c
}

// Resume starts a single node on a data directory that is there.
func Resume(tb testing.TB, dir string) *Cluster {
	tb.Helper()
	bin, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{tb: tb, bin: bin, dir: tb.TempDir(), opt: Options{Nodes: 1, Expect: 1}}
	tb.Cleanup(c.stop)
	c.Nodes = []*Node{{Dir: dir}}
	c.Restart(c.Nodes[0])
	c.WaitHealthy()
	return c
}

// Add starts one more node. All but the first are told to join that.
func (c *Cluster) Add() *Node {
	c.tb.Helper()
	n := c.place()
	if err := c.Launch(n); err != nil {
		c.tb.Fatal(err)
	}
	return n
}

// AddArgs adds arguments for servers that are started from now on. The last value of a
// flag counts.
func (c *Cluster) AddArgs(args ...string) { c.opt.Args = append(c.opt.Args, args...) }

// Launch starts n's process and waits until it says where it listens. The first time
// the system chooses the ports; after that they are kept. While n was down, the system
// may have given one of them to somebody's outgoing connection: that passes. Different
// nodes may be launched at the same time.
func (c *Cluster) Launch(n *Node) error {
	for deadline := time.Now().Add(ListenTimeout); ; time.Sleep(10 * poll) {
		err := c.launchOnce(n)
		taken := err != nil && n.Addr.PID != 0 && strings.Contains(err.Error(), "address already in use")
		if !taken || time.Now().After(deadline) {
			return err
		}
	}
}

func (c *Cluster) launchOnce(n *Node) error {
	client, peer, gossip, httpAddr := "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if n.Addr.Client != "" {
		client, peer, gossip, httpAddr = n.Addr.Client, n.Addr.Peer, n.Addr.Gossip, n.Addr.HTTP
	}
	args := []string{"server", "--data", n.Dir, "--client-addr", client, "--peer-addr", peer,
		"--gossip-addr", gossip, "--http-addr", httpAddr, "--bootstrap-expect", fmt.Sprint(c.opt.Expect), "--log-format", "text"}
	if c.opt.Shards > 0 {
		args = append(args, "--shards", fmt.Sprint(c.opt.Shards))
	}
	for _, addr := range c.seeds(n) {
		args = append(args, "--join", addr)
	}
	args = append(append(args, c.opt.Args...), n.host.Args...)
	log, err := os.OpenFile(n.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	proc := exec.Command(c.bin, args...)
	proc.Stdout, proc.Stderr = log, log
	start := n.host.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(proc); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = proc.Wait(); close(done) }() // ends with the process, which stop kills
	n.mu.Lock()
	n.proc, n.done = proc, done
	n.mu.Unlock()

	for deadline := time.Now().Add(ListenTimeout); ; time.Sleep(poll) {
		b, err := os.ReadFile(filepath.Join(n.Dir, node.AddressesFile))
		var a node.Addresses
		if err == nil && json.Unmarshal(b, &a) == nil && a.PID == proc.Process.Pid {
			n.mu.Lock()
			n.Addr, n.id = a, a.NodeID
			n.mu.Unlock()
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("node %d ended at its start: %s\n%s", n.Index+1, proc.ProcessState, c.LogTail(n, 20))
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %d does not listen after %v\n%s", n.Index+1, ListenTimeout, c.LogTail(n, 20))
		}
	}
}

// seeds returns the gossip addresses that n is told to join: of the first node, and of
// all others when n is a new node in a cluster that is there.
func (c *Cluster) seeds(n *Node) (out []string) {
	for _, o := range c.Nodes {
		if o != n && o.Addr.Gossip != "" && (n.emptied || o.Index == 0) {
			out = append(out, o.Addr.Gossip)
		}
	}
	return out
}

// Empty removes all that n has on its disk. n does not run; started again it is a new
// node.
func (c *Cluster) Empty(n *Node) error {
	n.emptied = true
	return os.RemoveAll(n.Dir)
}

// Run runs the server's binary until it ends, at most for ExecTimeout, and returns its
// exit code and what it wrote.
func (c *Cluster) Run(args ...string) (code int, output string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), ExecTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.bin, args...).CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

// LogTail returns the last lines of a node's log.
func (c *Cluster) LogTail(n *Node, lines int) string {
	b, err := os.ReadFile(n.Dir + ".log")
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ID returns the identity that n has, or had when it ran last; empty before its first
// start. Any goroutine may ask.
func (n *Node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// Running reports whether n's process runs. Any goroutine may ask.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil
}

// Exited returns how n's process has ended by itself; nil while it runs, and when it was
// ended or never started. Any goroutine may ask.
func (n *Node) Exited() *os.ProcessState {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	select {
	case <-n.done:
		return n.proc.ProcessState
	default:
		return nil
	}
}

// Kill ends n as a power cut of the process would: at once. It waits until it is gone.
func (c *Cluster) Kill(n *Node) {
	n.end(syscall.SIGKILL)
}

// end sends sig and waits for the end of the process.
func (n *Node) end(sig syscall.Signal) {
	n.mu.Lock()
	proc, done := n.proc, n.done
	n.proc = nil
	n.mu.Unlock()
	if proc == nil {
		return
	}
	proc.Process.Signal(sig)
	select {
	case <-done:
	case <-time.After(StopTimeout):
		proc.Process.Kill()
		<-done
	}
}

// Terminate asks n to stop in order, and returns its exit code; 0 when it did not run.
func (c *Cluster) Terminate(n *Node) int {
	n.mu.Lock()
	proc := n.proc
	n.mu.Unlock()
	if proc == nil {
		return 0
	}
	n.end(syscall.SIGTERM)
	return proc.ProcessState.ExitCode()
}

// Ended waits for n's process to end by itself, and returns its exit code.
func (c *Cluster) Ended(n *Node) int {
	c.tb.Helper()
	n.mu.Lock()
	proc, done := n.proc, n.done
	n.proc = nil
	n.mu.Unlock()
	select {
	case <-done:
		return proc.ProcessState.ExitCode()
	case <-time.After(ExecTimeout):
		proc.Process.Kill()
		<-done
		c.tb.Fatalf("node %d still ran after %v\n%s", n.Index+1, ExecTimeout, c.LogTail(n, 20))
		return 0
	}
}

// Pause and Resume stop and continue n's process.
func (c *Cluster) Pause(n *Node)  { n.signal(syscall.SIGSTOP) }
func (c *Cluster) Resume(n *Node) { n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.Process.Signal(sig)
	}
}

// PID returns the process ID of n, or 0.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return 0
	}
	return n.proc.Process.Pid
}

// Restart starts a node that was killed or stopped.
func (c *Cluster) Restart(n *Node) {
	c.tb.Helper()
	if err := c.Launch(n); err != nil {
		c.tb.Fatal(err)
	}
}

// Move starts a node that was killed or stopped, on ports that the system chooses anew.
func (c *Cluster) Move(n *Node) {
	c.tb.Helper()
	n.Addr = node.Addresses{}
	c.Restart(n)
}

// ErrUnhealthy is wrapped by Status for a cluster that answers but is not healthy.
var ErrUnhealthy = errors.New("the cluster is not healthy")

// Status asks one node how the cluster is.
func (c *Cluster) Status(n *Node) (node.Status, error) {
	var st node.Status
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + n.Addr.HTTP + "/status")
	if err != nil {
		return st, err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
		return st, err
	}
	if !st.Healthy {
		return st, fmt.Errorf("%w: %s", ErrUnhealthy, strings.Join(st.Problems, "; "))
	}
	return st, nil
}

// WaitHealthy waits until every running node says that the cluster is healthy.
func (c *Cluster) WaitHealthy() {
	c.tb.Helper()
	if err := c.AwaitHealthy(HealthyTimeout); err != nil {
		c.tb.Fatal(err)
	}
}

// AwaitHealthy waits until every running node says that the cluster is healthy, at most
// for within.
func (c *Cluster) AwaitHealthy(within time.Duration) error {
	deadline := time.Now().Add(within)
	for _, n := range c.Nodes {
		for n.Running() {
			_, err := c.Status(n)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("node %d: not healthy after %v: %w\n%s", n.Index+1, within, err, c.LogTail(n, 30))
			}
			time.Sleep(5 * poll)
		}
	}
	return nil
}

// Close ends all processes at once.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.signal(syscall.SIGCONT)
		n.end(syscall.SIGKILL)
	}
}

// Leader returns the node that leads shard, by node n's word; nil when there is none.
func (c *Cluster) Leader(n *Node, shard uint32) *Node {
	st, _ := c.Status(n)
	for _, s := range st.Shards {
		if s.ID != shard {
			continue
		}
		for _, m := range c.Nodes {
			if m.Addr.NodeID == s.Leader {
				return m
			}
		}
	}
	return nil
}

// Addrs returns the client addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, n := range c.Nodes {
		out = append(out, n.Addr.Client)
	}
	return out
}

// stop ends all processes; the logs are shown when the test failed. A process that
// was killed cannot say by its exit code that it has raced: its log does.
func (c *Cluster) stop() {
	for _, n := range c.Nodes {
		n.signal(syscall.SIGCONT)
		n.end(syscall.SIGKILL)
		if log := c.LogTail(n, 1<<20); len(raceFlags) > 0 && strings.Contains(log, "WARNING: DATA RACE") {
			c.tb.Errorf("node %d has a data race:\n%s", n.Index+1, log[strings.Index(log, "WARNING: DATA RACE"):])
		}
		if c.tb.Failed() {
			c.tb.Logf("node %d:\n%s", n.Index+1, c.LogTail(n, 40))
		}
	}
}
