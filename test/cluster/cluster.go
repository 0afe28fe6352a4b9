package cluster

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/node"
)

// Time limits for a cluster in a test. They are generous because a race build is slow on two
// busy cores.
const (
	ListenTimeout  = 60 * time.Second
	HealthyTimeout = 90 * time.Second
	StopTimeout    = 30 * time.Second
	poll           = 20 * time.Millisecond
)

// Options describe the cluster that a test needs.
type Options struct {
	Nodes  int      // 3 when zero
	Expect int      // --bootstrap-expect; Nodes when zero
	Shards int      // the server's default when zero
	Args   []string // additional arguments for every server
	Faults bool     // use servers whose disks fail on demand; see DEBUG FAULT
	// Hosts, if set, returns the host of the node with an index. Without it, all nodes run
	// on loopback, on ports that the system chooses.
	Hosts func(index int) Host
}

// Host describes the place where a node runs.
type Host struct {
	Addr  node.Addresses            // its listen addresses
	Dir   string                    // its data directory; if empty, one below the cluster's directory
	Args  []string                  // additional arguments for this server
	Start func(cmd *exec.Cmd) error // starts its process; nil means cmd.Start
}

// Cluster is a set of server processes. Unless their comments say otherwise, its methods
// must be called from the test's goroutine.
type Cluster struct {
	Nodes []*Node
	tb    testing.TB // nil for a cluster of New, whose methods without an error result must not be called
	bin   string
	dir   string
	opt   Options
}

// Node is the place of one server process, which may be running or not. Its addresses stay
// the same over restarts. Its node ID comes from its directory, so that it is another one
// after Empty.
type Node struct {
	Index int
	Dir   string
	Addr  node.Addresses

	host    Host
	emptied bool // Empty was called, so it joins through every other node

	mu   sync.Mutex
	id   string        // its present node ID
	proc *exec.Cmd     // nil while no process runs
	done chan struct{} // closed once proc has ended
}

// New returns a cluster with the server binary bin and its files below dir. It starts no
// process. It is for programs other than tests: they may only call methods that return
// errors, and Close.
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

// place adds a node without starting it.
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

// Start starts a cluster and waits until it is healthy. The cluster ends with the test.
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

// StartOn starts a cluster of a single node on the existing data directory dir.
func StartOn(tb testing.TB, dir string) *Cluster {
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

// Add starts one more node. Each node but the first joins through the first.
func (c *Cluster) Add() *Node {
	c.tb.Helper()
	n := c.place()
	if err := c.Launch(n); err != nil {
		c.tb.Fatal(err)
	}
	return n
}

// AddArgs adds arguments for servers that are started from now on. A flag given twice has
// its last value.
func (c *Cluster) AddArgs(args ...string) { c.opt.Args = append(c.opt.Args, args...) }

// Close kills all processes.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.signal(syscall.SIGCONT)
		n.end(syscall.SIGKILL)
	}
}

// stop kills all processes, and shows their logs if the test has failed. It looks for data
// races in the logs, because a killed process cannot report them by its exit code.
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
