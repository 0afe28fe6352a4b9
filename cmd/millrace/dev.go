package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"millrace/node"
)

// devStopGrace is the time that a node of the local cluster gets to stop before it is killed.
const devStopGrace = 20 * time.Second

func devCommand() *cobra.Command {
	var (
		n, shards int
		dir       string
		memory    string
	)
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a local cluster of several server processes until Ctrl-C",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 1 || n > 9 {
				return usageError("-n: %d is not between 1 and 9", n)
			}
			if dir == "" {
				tmp, err := os.MkdirTemp("", "millrace-dev-")
				if err != nil {
					return err
				}
				defer func() { _ = os.RemoveAll(tmp) }()
				dir = tmp
			}
			return runDev(cmd.Context(), cmd.OutOrStdout(), dir, n, shards, memory)
		},
	}
	cmd.Flags().IntVarP(&n, "nodes", "n", 3, "`number` of nodes, 1 to 9")
	cmd.Flags().IntVar(&shards, "shards", node.DefaultShards, "`number` of shards")
	cmd.Flags().StringVar(&dir, "dir", "", "`directory` to keep the data in (default: a temporary directory that is removed at the end)")
	cmd.Flags().StringVar(&memory, "memory", "512MiB", "memory budget of each node, a `size` such as 512MiB")
	return cmd
}

// devNode is one server process of a local cluster.
type devNode struct {
	dir string
	cmd *exec.Cmd
	log *os.File
}

// runDev starts n nodes with data below dir, on ports that the system chooses, and prints
// their addresses. It returns when ctx ends or one of the nodes dies, after all others have
// ended.
func runDev(ctx context.Context, out io.Writer, dir string, n, shards int, memory string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	seed := ""
	for i := 1; i <= n; i++ {
		d := devNode{dir: filepath.Join(dir, fmt.Sprintf("node%d", i))}
		args := []string{"server", "--data", d.dir, "--client-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0",
			"--gossip-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--bootstrap-expect", fmt.Sprint(n),
			"--shards", fmt.Sprint(shards), "--memory", memory}
		if seed != "" {
			args = append(args, "--join", seed)
		}
		if err := d.start(self, args); err != nil {
			return errors.Join(err, ignoreCanceled(g.Wait()))
		}
		g.Go(func() error { return d.wait(ctx) })
		addrs, err := d.addresses(ctx)
		if err != nil {
			g.Go(func() error { return err })
			return g.Wait()
		}
		if seed == "" {
			seed = addrs.Gossip
		}
		fmt.Fprintf(out, "node %d: redis-cli -p %s   status http://%s/status   log %s\n", i, port(addrs.Client), addrs.HTTP, d.log.Name())
		if i == n {
			g.Go(func() error {
				st, err := waitHealthy(ctx, addrs.HTTP, node.Status{}, errors.New("starting"))
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "ready: %d nodes, %d shards; Ctrl-C stops all nodes\n", len(st.Nodes), len(st.Shards)-1)
				return nil
			})
		}
	}
	return ignoreCanceled(g.Wait())
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func (d *devNode) start(self string, args []string) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	log, err := os.Create(d.dir + ".log")
	if err != nil {
		return err
	}
	d.log = log
	d.cmd = exec.Command(self, args...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// The node gets its own process group, so that Ctrl-C reaches only this process, which
	// then stops the nodes in order.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return d.cmd.Start()
}

// wait stops the process when ctx ends, and returns once it has ended. If the process ends
// by itself, wait returns an error.
func (d *devNode) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends with the process
		_ = d.cmd.Wait()
		close(done)
	}()
	defer d.log.Close()
	select {
	case <-done:
		return fmt.Errorf("%s has ended unexpectedly (%s): see %s", filepath.Base(d.dir), d.cmd.ProcessState, d.log.Name())
	case <-ctx.Done():
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // fails only if the process has ended already
	select {
	case <-done:
	case <-time.After(devStopGrace):
		_ = d.cmd.Process.Kill()
		<-done
	}
	return nil
}

// addresses waits for the file in which the node reports its listen addresses.
func (d *devNode) addresses(ctx context.Context) (node.Addresses, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		b, err := os.ReadFile(filepath.Join(d.dir, node.AddressesFile))
		var a node.Addresses
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err == nil && a.PID == d.cmd.Process.Pid {
			return a, nil
		}
		if time.Now().After(deadline) {
			return a, fmt.Errorf("%s does not listen after 30 s: see %s", filepath.Base(d.dir), d.log.Name())
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
