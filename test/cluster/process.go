package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"millrace/node"
)

// Launch starts n's process and waits until it has reported its listen addresses. At the
// first launch the system chooses the ports; later launches keep them. While n was down,
// the system may have given one of its ports to an outgoing connection of some process. In
// that case Launch tries again until the port is free. Different nodes may be launched at
// the same time.
func (c *Cluster) Launch(n *Node) error {
	for deadline := time.Now().Add(ListenTimeout); ; time.Sleep(10 * poll) {
		err := c.launchOnce(n)
		taken := err != nil && n.Addr.PID != 0 && strings.Contains(err.Error(), "address already in use")
		if !taken || time.Now().After(deadline) {
			return err
		}
	}
}

// launchOnce starts n's process and waits until it has reported its listen addresses.
func (c *Cluster) launchOnce(n *Node) error {
	log, err := os.OpenFile(n.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own descriptor
	proc := exec.Command(c.bin, c.serverArgs(n)...)
	proc.Stdout, proc.Stderr = log, log
	start := n.host.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(proc); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = proc.Wait(); close(done) }() // ends with the process, which stop kills at the latest
	n.mu.Lock()
	n.proc, n.done = proc, done
	n.mu.Unlock()
	return c.awaitAddresses(n, proc, done)
}

// serverArgs returns the arguments of n's process.
func (c *Cluster) serverArgs(n *Node) []string {
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
	return append(append(args, c.opt.Args...), n.host.Args...)
}

// awaitAddresses waits until proc has reported its listen addresses, and keeps them in n.
func (c *Cluster) awaitAddresses(n *Node, proc *exec.Cmd, done <-chan struct{}) error {
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
			return fmt.Errorf("node %d ended during its start: %s\n%s", n.Index+1, proc.ProcessState, c.LogTail(n, 20))
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %d does not listen after %v\n%s", n.Index+1, ListenTimeout, c.LogTail(n, 20))
		}
	}
}

// seeds returns the gossip addresses for n's --join: the first node's, or those of all other
// nodes after Empty, because n is then a new node in an existing cluster.
func (c *Cluster) seeds(n *Node) (out []string) {
	for _, o := range c.Nodes {
		if o != n && o.Addr.Gossip != "" && (n.emptied || o.Index == 0) {
			out = append(out, o.Addr.Gossip)
		}
	}
	return out
}

// Restart starts a node that was killed or stopped.
func (c *Cluster) Restart(n *Node) {
	c.tb.Helper()
	if err := c.Launch(n); err != nil {
		c.tb.Fatal(err)
	}
}

// Move starts a node that was killed or stopped, on new ports that the system chooses.
func (c *Cluster) Move(n *Node) {
	c.tb.Helper()
	n.Addr = node.Addresses{}
	c.Restart(n)
}

// Empty removes n's data directory. n must not be running. When it is started again, it is
// a new node.
func (c *Cluster) Empty(n *Node) error {
	n.emptied = true
	return os.RemoveAll(n.Dir)
}

// Kill kills n with SIGKILL and waits for its end.
func (c *Cluster) Kill(n *Node) {
	n.end(syscall.SIGKILL)
}

// end sends sig and waits for the end of the process, which is killed after StopTimeout.
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

// Terminate stops n in order with SIGTERM, and returns its exit code, or 0 if it was not
// running.
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

// Pause stops n's process with SIGSTOP.
func (c *Cluster) Pause(n *Node) { n.signal(syscall.SIGSTOP) }

// Resume continues a process stopped by Pause.
func (c *Cluster) Resume(n *Node) { n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.Process.Signal(sig)
	}
}

// ID returns the node ID that n has or had when it last ran. It is empty before the first
// start. It may be called from any goroutine.
func (n *Node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// Running reports whether n has a process that was neither ended nor waited for by a method
// of Cluster. It may be called from any goroutine.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil
}

// Exited returns the final state of a process that has ended by itself. It returns nil while
// the process runs, after a method of Cluster has ended it, and before the first start. It
// may be called from any goroutine.
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

// PID returns the process ID of n, or 0 if it is not running.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return 0
	}
	return n.proc.Process.Pid
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
