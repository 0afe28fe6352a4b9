package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"millrace/node"
)

// devCluster is the local cluster of millrace dev.
type devCluster struct {
	o       *devOptions
	out     io.Writer
	mu      sync.Mutex // held while a line is printed
	crashes atomic.Int32
}

// devNode is one server process of a local cluster.
type devNode struct {
	d      *devCluster
	number int // from 1
	self   string
	args   []string
	dir    string

	cmd  *exec.Cmd
	done chan struct{} // closed once the process has ended
}

func (n *devNode) logPath() string { return n.dir + ".log" }

// start starts the process. Its log goes on where that of an earlier process has ended.
func (n *devNode) start() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own descriptor
	cmd := exec.Command(n.self, n.args...)
	cmd.Stdout, cmd.Stderr = log, log
	// The node gets its own process group, so that Ctrl-C reaches only this process, which
	// then stops the nodes in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(done)
	}()
	n.d.mu.Lock()
	n.cmd, n.done = cmd, done
	n.d.mu.Unlock()
	return nil
}

// keep starts the process again whenever it ends, until ctx ends; then it stops the
// process. It returns an error if the process ends soon after several starts in a row.
func (n *devNode) keep(ctx context.Context) error {
	for failed, began := 0, time.Now(); ; began = time.Now() {
		select {
		case <-ctx.Done():
			n.stop()
			return nil
		case <-n.done:
		}
		n.d.crashes.Add(1)
		if failed++; time.Since(began) > devSettled {
			failed = 1
		}
		if failed == devStarts {
			return fmt.Errorf("node %d has ended after each of %d starts (%s): see %s", n.number, failed, n.cmd.ProcessState, n.logPath())
		}
		n.d.say("node %d has ended (%s); it starts again in %v. Its log: %s", n.number, n.cmd.ProcessState, devPause, n.logPath())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(devPause):
		}
		if err := n.start(); err != nil {
			return err
		}
		n.d.say("node %d was started again", n.number)
	}
}

// stop stops the process in order, or kills it if that takes too long.
func (n *devNode) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // fails only if the process has ended already
	select {
	case <-n.done:
	case <-time.After(devStopGrace):
		_ = n.cmd.Process.Kill()
		<-n.done
	}
}

// pid returns the process ID.
func (n *devNode) pid() int {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	return n.cmd.Process.Pid
}

// addresses waits for the file in which the node reports its listen addresses.
func (n *devNode) addresses(ctx context.Context) (node.Addresses, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		b, err := os.ReadFile(filepath.Join(n.dir, node.AddressesFile))
		var a node.Addresses
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err == nil && a.PID == n.pid() {
			return a, nil
		}
		if time.Now().After(deadline) {
			return a, fmt.Errorf("node %d does not listen after 30 s: see %s", n.number, n.logPath())
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
