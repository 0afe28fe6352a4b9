package node

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/version"
	"millrace/raftlog/disk"
)

// Time limits for the steps of stopping. A step that takes longer is abandoned, and the
// next one begins.
const (
	transferTimeout = 5 * time.Second // moving leaderships to other nodes
	drainTimeout    = 5 * time.Second // answering the commands that clients have sent
	leaveTimeout    = 2 * time.Second // telling the other nodes, on their connections and through gossip
)

// Run serves until ctx ends, a client sends SHUTDOWN, or a part fails. Then it closes
// everything. Unless a part failed, it first hands over leaderships and answers the
// commands that were already sent, and returns nil.
func (n *Node) Run(ctx context.Context) error {
	n.log.Info("millrace is up", "version", Version, "commit", version.Get().Revision(), "client_addr", n.addrs.Client, "peer_addr", n.addrs.Peer,
		"gossip_addr", n.addrs.Gossip, "http_addr", n.addrs.HTTP, "data", n.cfg.DataDir)
	// The parts have a context of their own, because drain needs them after ctx has ended.
	partsCtx, stop := context.WithCancel(context.Background())
	defer stop()
	g, partsCtx := errgroup.WithContext(partsCtx)
	g.Go(func() error { return n.peers.Serve(partsCtx) })  // Raft messages, forwarded commands
	g.Go(func() error { return n.hosting.run(partsCtx) })  // opens and removes replicas to match the map
	g.Go(func() error { return n.meta.run(partsCtx) })     // joins or creates a cluster; runs the controller while this node leads
	g.Go(func() error { return n.watchSpace(partsCtx) })   // refuses commands that need room while there is little
	g.Go(func() error { return n.watchStalls(partsCtx) })  // ends the process if the log's disk hangs
	g.Go(func() error { return n.router.Serve(partsCtx) }) // one or two goroutines for each client
	g.Go(func() error { return n.watchMembers(partsCtx) }) // wakes the controller; ends a node whose ID is in use elsewhere
	if n.http != nil {
		g.Go(func() error { return n.http.serve(partsCtx) })
	}
	var cause error
	select {
	case <-ctx.Done():
		n.drain()
	case <-n.stopping:
		n.drain()
	case cause = <-n.failed:
	case <-partsCtx.Done():
	}
	stop()
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(cause, err, n.close())
}

// drain leaves the cluster in order while all parts still run. Leaderships move first, so
// that no client has to wait for an election.
func (n *Node) drain() {
	n.log.Info("stopping: leaderships move to other nodes, then connections close")
	n.draining.Store(true)
	n.gossip.SetMeta(n.gossipMeta())
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	n.handOver(ctx)
	cancel()
	ctx, cancel = context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := n.router.Drain(ctx); err != nil {
		n.log.Warn("connections were closed before every command was answered", "error", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := n.peers.Leave(ctx); err != nil {
		n.log.Warn("a node still waits for answers from this one", "error", err)
	}
}

// leaving reports whether other nodes should take over the leaderships of this one,
// because it is stopping or its disk is nearly full.
func (n *Node) leaving() bool {
	return n.draining.Load() || n.space != nil && n.space.low.Load()
}

// shutdown returns the function with which a client's SHUTDOWN stops the node, or nil if
// the configuration does not allow SHUTDOWN.
func (n *Node) shutdown() func() {
	if !n.cfg.EnableShutdown {
		return nil
	}
	return sync.OnceFunc(func() { close(n.stopping) })
}

// fail makes Run close everything and return err. Only the first error counts.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// fatal ends the process at once, without closing anything. A node that went on after a
// disk failure could spread bytes that it read wrong, or acknowledge a write that is not
// on disk.
func (n *Node) fatal(class disk.Class, err error) {
	hint := ""
	if class == disk.Full {
		hint = n.spaceHint()
	}
	n.log.Error("the process ends: "+class.String(), "error", err, "exit_code", class.ExitCode(), "hint", hint)
	os.Exit(class.ExitCode())
}
