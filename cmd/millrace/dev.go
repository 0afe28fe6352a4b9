package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"millrace/node"
)

// maxDevNodes is the number of nodes that dev starts at most. Their ports lie in runs of ten:
// with --port 7379, clients connect to 7379 and up, HTTP is at 7389 and up, the nodes use
// 7399 and up among themselves, and gossip 7409 and up.
const maxDevNodes = 9

// defaultDevPort is the client port of the first node.
const defaultDevPort = 7379

// devOptions are the flags of dev.
type devOptions struct {
	nodes, shards int
	port          int // of the first node's clients; 0 lets the system choose all ports
	dir           string
	memory        string
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a local cluster of several server processes until Ctrl-C",
		Long: `Run a local cluster of several server processes until Ctrl-C.

A node that ends by itself, or that you kill, is started again after three seconds. The
others go on meanwhile.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.nodes < 1 || o.nodes > maxDevNodes {
				return usageError("-n: %d is not between 1 and %d", o.nodes, maxDevNodes)
			}
			if o.port != 0 && (o.port < 1024 || o.port > 65535-4*10) {
				return usageError("--port: %d is neither 0 nor between 1024 and %d", o.port, 65535-4*10)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVarP(&o.nodes, "nodes", "n", 3, "`number` of nodes, 1 to 9")
	cmd.Flags().IntVar(&o.shards, "shards", node.DefaultShards, "`number` of shards")
	cmd.Flags().IntVar(&o.port, "port", defaultDevPort, "client `port` of the first node; HTTP is 10 above it, the nodes' own ports 20 and 30; 0 lets the system choose")
	cmd.Flags().StringVar(&o.dir, "dir", "", "`directory` to keep the data in (default: a temporary directory that is removed at the end)")
	cmd.Flags().StringVar(&o.memory, "memory", "512MiB", "memory budget of each node, a `size` such as 512MiB")
	return cmd
}

// run prepares the directory and runs the cluster. A temporary directory is removed at the
// end, unless a node has ended by itself: then its log may say why.
func (o *devOptions) run(ctx context.Context, out io.Writer) error {
	temporary := o.dir == ""
	if temporary {
		tmp, err := os.MkdirTemp("", "millrace-dev-")
		if err != nil {
			return err
		}
		o.dir = tmp
	} else if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDev(o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	d := &devCluster{o: o, out: out}
	err = d.run(ctx)
	switch {
	case !temporary:
	case d.crashes.Load() == 0:
		return errors.Join(err, os.RemoveAll(o.dir))
	default:
		fmt.Fprintf(out, "data and logs stay in %s, because a node has ended by itself\n", o.dir)
	}
	return err
}

// lockDev refuses a directory that another dev uses.
func lockDev(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "dev.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another millrace dev; choose another --dir", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// address returns the listen address of a node, counted from 0, in the run-th run of ports.
func (o *devOptions) address(i, run int) string {
	if o.port == 0 {
		return "127.0.0.1:0"
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port+10*run+i))
}

// checkPorts returns an error if a port is in use.
func (o *devOptions) checkPorts() error {
	for i := range o.nodes {
		for run := range 4 {
			ln, err := net.Listen("tcp", o.address(i, run))
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("%s is in use, by another cluster perhaps; choose other ports with --port", o.address(i, run))
			}
			if err != nil {
				return err
			}
			ln.Close()
		}
	}
	return nil
}

// run starts the nodes and prints their addresses. It returns when ctx ends, or when a node
// cannot be kept running, after all nodes have ended.
func (d *devCluster) run(ctx context.Context) error {
	if err := d.o.checkPorts(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	seed := ""
	var first, last node.Addresses
	for i := range d.o.nodes {
		n := &devNode{d: d, number: i + 1, self: self, dir: filepath.Join(d.o.dir, fmt.Sprintf("node%d", i+1))}
		n.args = []string{"server", "--data", n.dir, "--client-addr", d.o.address(i, 0), "--http-addr", d.o.address(i, 1),
			"--peer-addr", d.o.address(i, 2), "--gossip-addr", d.o.address(i, 3), "--bootstrap-expect", strconv.Itoa(d.o.nodes),
			"--shards", strconv.Itoa(d.o.shards), "--memory", d.o.memory}
		if seed != "" {
			n.args = append(n.args, "--join", seed)
		}
		if err := n.start(); err != nil {
			return errors.Join(err, ignoreCanceled(g.Wait()))
		}
		g.Go(func() error { return n.keep(ctx) })
		addrs, err := n.addresses(ctx)
		if err != nil {
			g.Go(func() error { return err })
			return ignoreCanceled(g.Wait())
		}
		if seed == "" {
			seed, first = addrs.Gossip, addrs
		}
		last = addrs
		d.say("node %d: redis-cli -p %s   status http://%s/status   log %s", n.number, port(addrs.Client), addrs.HTTP, n.logPath())
	}
	g.Go(func() error {
		st, err := waitHealthy(ctx, last.HTTP, node.Status{}, errors.New("starting"))
		if ctx.Err() != nil || err != nil {
			return ignoreCanceled(err)
		}
		d.say("ready: %d nodes, %d shards\n  connect   redis-cli -p %s\n  look      millrace status --addr %s\n  stop      Ctrl-C",
			len(st.Nodes), len(st.Shards)-1, port(first.Client), first.HTTP)
		return nil
	})
	return ignoreCanceled(g.Wait())
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr) // the address of a listener
	return p
}

// say prints a line for the user.
func (d *devCluster) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

// Times of a node of the local cluster.
const (
	devStopGrace = 20 * time.Second // to stop, before it is killed
	devPause     = 3 * time.Second  // between its end and its next start
	devSettled   = 10 * time.Second // a node that has run for so long has started well
	devStarts    = 3                // starts in a row that may fail
)
