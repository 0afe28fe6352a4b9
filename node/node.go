package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"millrace/call"
	"millrace/internal/tick"
	"millrace/node/gossip"
	"millrace/node/peer"
	"millrace/placement"
	"millrace/raftlog/disk"
	"millrace/router"
	"millrace/stream"
)

// How long the steps of stopping may take. What is late is cut off.
const (
	transferTimeout = 5 * time.Second // leaderships move away
	drainTimeout    = 5 * time.Second // clients get the answers of what they asked
	leaveTimeout    = 2 * time.Second // gossip says goodbye
)

// Node is one Millrace process. Open makes it, Run runs it to its end.
type Node struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File

	clock   clock
	id      string // this node's ID; never changes
	identMu sync.Mutex
	ident   identity // guarded by identMu

	fs      vfs.FS // of the databases and of what is staged
	space   *space
	disks   *disks
	peers   *peer.Peers
	gossip  *gossip.Gossip
	router  *router.Router
	http    *httpServer // nil: none
	metrics *prometheus.Registry

	replicas *replicas
	maps     *placement.Holder
	leaders  *placement.Leaders
	meta     *metaGroup
	host     *hosting
	caller   *leaderCaller
	addrs    Addresses

	lowest   atomic.Value // string: the founder this node would name; see placement.Greeting
	draining atomic.Bool
	asked    chan struct{} // closed when a client asked this node to stop
	lookups  stream.Lookups
	expired  atomic.Int64 // names that this node's shards removed when their time had come
	failed   chan error   // the first failure of a part that runs by itself
	started  time.Time
}

// Open opens the disks and the listeners and starts this node's replicas. When it
// fails nothing is left open, and nothing was changed but a directory that was empty.
func Open(cfg Config) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Logger, failed: make(chan error, 1), asked: make(chan struct{}), started: time.Now(), metrics: prometheus.NewRegistry()}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if err := prepareDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if n.lock, err = lockDir(cfg.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.ident, err = loadIdentity(cfg.DataDir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, recoveryFile)); err == nil {
		return nil, fmt.Errorf("%s: %w", cfg.DataDir, ErrRecovering)
	}
	n.id = n.ident.NodeID
	n.log = n.log.With("node", n.id[:8])
	n.lowest.Store(n.id)
	n.replicas = newReplicas()
	n.maps, n.leaders = placement.NewHolder(), placement.NewLeaders()
	n.caller = &leaderCaller{submit: n.submit, cancel: n.cancel, leaders: routerLeaders{n.leaders}, hosts: n.hostsOf}

	// Listeners before disks: a port in use is found before anything is written.
	clients, err := net.Listen("tcp", cfg.ClientAddr)
	if err != nil {
		return nil, fmt.Errorf("client-addr: %w", err)
	}
	defer func() {
		if n.router == nil {
			clients.Close()
		}
	}()
	if err := n.listen(); err != nil {
		return nil, err
	}
	if err := checkFree(cfg.GossipAddr); err != nil {
		return nil, fmt.Errorf("gossip-addr: %w", err)
	}
	if n.fs, err = openFS(cfg.DataDir); err != nil {
		return nil, err
	}
	n.space = &space{fs: n.fs, dir: cfg.DataDir}
	n.replicas.space = n.space
	if n.disks, err = openDisks(n.fs, cfg.DataDir, cfg.MemoryBytes, n.log, n.fatal, n.space.met); err != nil {
		if ExitCode(err) == disk.Full.ExitCode() {
			err = fmt.Errorf("%w; %s", err, n.spaceHint())
		}
		return nil, err
	}
	n.layBallast()
	if err := n.disks.checkComplete(cfg.DataDir, n.ident); err != nil {
		return nil, err
	}
	if err := n.advertise(clients.Addr().String()); err != nil {
		return nil, err
	}
	if err := n.startGossip(); err != nil {
		return nil, err
	}
	n.host = newHosting(n)
	if err := n.host.finishRetiring(); err != nil {
		return nil, err
	}
	if err := openMeta(n); err != nil {
		return nil, err
	}
	rc := router.Config{
		NodeID: n.id, Listener: clients, Backend: backend{n}, Topology: n.topology, Leaders: routerLeaders{n.leaders},
		RequirePass: cfg.RequirePass, Version: Version, Info: n.info, Progress: n.progress, Shutdown: n.shutdown(),
		DataDir: cfg.DataDir, EnableFlush: cfg.EnableFlush, Logger: n.log,
	}
	if cfg.EnableDebug {
		n.log.Warn("enable-debug is set: clients may disturb this node")
		rc.Debug = n.debug
	}
	n.router, err = router.New(rc)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPAddr != "" {
		n.registerMetrics()
	}
	return n, n.addrs.save(cfg.DataDir)
}

// listen opens the peer and HTTP listeners.
func (n *Node) listen() error {
	var err error
	n.peers, err = peer.Listen(peer.Config{
		NodeID: n.id, ClusterID: n.clusterID, Secret: n.cfg.Secret, ListenAddr: n.cfg.PeerAddr,
		Resolve: n.resolve, Handler: handler{n.replicas, n}, Logger: n.log,
		Stalled: func() bool { return n.disks != nil && n.disks.stalled() },
	})
	if err != nil {
		return fmt.Errorf("peer-addr: %w", err)
	}
	if n.cfg.HTTPAddr != "" {
		if n.http, err = listenHTTP(n.cfg.HTTPAddr, n, n.metrics, n.cfg.Pprof); err != nil {
			return fmt.Errorf("http-addr: %w", err)
		}
	}
	return nil
}

// advertise works out under which addresses others reach this node.
func (n *Node) advertise(client string) error {
	n.addrs = Addresses{PID: os.Getpid(), NodeID: n.id}
	for _, a := range []struct {
		bound string
		to    *string
	}{{client, &n.addrs.Client}, {n.peers.Addr().String(), &n.addrs.Peer}} {
		var err error
		if *a.to, err = advertised(a.bound, n.cfg.Advertise); err != nil {
			return err
		}
	}
	if n.http != nil {
		var err error
		if n.addrs.HTTP, err = advertised(n.http.ln.Addr().String(), n.cfg.Advertise); err != nil {
			return err
		}
	}
	return nil
}

// checkFree returns why nothing can listen on addr for gossip, TCP and UDP. Gossip
// itself begins once the disks are open: a node that cannot be asked is not announced.
func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return p.Close()
}

func (n *Node) startGossip() error {
	var key []byte
	if len(n.cfg.Secret) > 0 {
		key = peer.DeriveKey(n.cfg.Secret, "gossip")
	}
	g, err := gossip.Start(gossip.Config{
		NodeID: n.id, BindAddr: n.cfg.GossipAddr, Advertise: n.cfg.Advertise, Label: "millrace",
		SecretKey: key, Seeds: n.cfg.Join, PeersFile: filepath.Join(n.cfg.DataDir, "peers.json"),
		Meta: n.gossipMeta(), Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("gossip-addr: %w", err)
	}
	n.gossip = g
	n.addrs.Gossip = g.LocalAddr()
	return nil
}

// Run serves until ctx ends or a part fails. It then hands leaderships over, answers
// what is in flight, and closes everything; it returns nil when ctx ended.
func (n *Node) Run(ctx context.Context) error {
	n.log.Info("millrace is up", "version", Version, "client_addr", n.addrs.Client, "peer_addr", n.addrs.Peer,
		"gossip_addr", n.addrs.Gossip, "http_addr", n.addrs.HTTP, "data", n.cfg.DataDir)
	// Parts run until stop: stopping in order needs them after ctx has ended.
	partsCtx, stop := context.WithCancel(context.Background())
	defer stop()
	g, partsCtx := errgroup.WithContext(partsCtx)
	g.Go(func() error { return n.peers.Serve(partsCtx) })  // Raft, forwarded commands
	g.Go(func() error { return n.host.run(partsCtx) })     // opens and removes replicas as the map says
	g.Go(func() error { return n.meta.run(partsCtx) })     // joins or founds; the controller where this node leads
	g.Go(func() error { return n.watchSpace(partsCtx) })   // refuses what needs room when there is little
	g.Go(func() error { return n.watchStalls(partsCtx) })  // ends the process when the log's disk hangs
	g.Go(func() error { return n.router.Serve(partsCtx) }) // a goroutine or two for each client
	g.Go(func() error { return n.watchMembers(partsCtx) }) // tells the controller; ends a node whose ID another one has
	if n.http != nil {
		g.Go(func() error { return n.http.serve(partsCtx) })
	}
	var cause error
	select {
	case <-ctx.Done():
		n.drain()
	case <-n.asked:
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

// drain leaves the cluster in order while everything still runs: leaderships first,
// so that no client waits for an election.
func (n *Node) drain() {
	n.log.Info("stopping: leaderships move away, then connections close")
	n.draining.Store(true)
	n.gossip.SetMeta(n.gossipMeta())
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	n.handOver(ctx)
	cancel()
	ctx, cancel = context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := n.router.Drain(ctx); err != nil {
		n.log.Warn("clients were cut off", "error", err)
	}
}

// close closes what is open, in the reverse order of Open.
func (n *Node) close() error {
	var errs []error
	if n.router != nil {
		errs = append(errs, n.router.Close())
	}
	if n.http != nil {
		n.http.ln.Close()
	}
	if n.replicas != nil {
		errs = append(errs, n.replicas.close())
	}
	if n.gossip != nil {
		// An error says that some node has not heard the goodbye: it finds out by itself.
		_ = n.gossip.Leave(leaveTimeout)
		errs = append(errs, n.gossip.Close())
	}
	if n.peers != nil {
		n.peers.Close()
	}
	if n.disks != nil {
		errs = append(errs, n.disks.close())
	}
	if n.lock != nil {
		n.lock.Close()
	}
	return errors.Join(errs...)
}

// fail ends Run with err; the first one counts.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// fatal ends the process at once: going on after a disk failed could spread what was
// read wrong, or acknowledge what was not written.
func (n *Node) fatal(class disk.Class, err error) {
	hint := ""
	if class == disk.Full {
		hint = n.spaceHint()
	}
	n.log.Error("the process ends: "+class.String(), "error", err, "exit_code", class.ExitCode(), "hint", hint)
	os.Exit(class.ExitCode())
}

// maxStrangersTold bounds the nodes of other clusters that are remembered as logged.
const maxStrangersTold = 256

// watchMembers wakes what acts on gossip's hints.
func (n *Node) watchMembers(ctx context.Context) error {
	told := make(map[string]bool) // strangers that have been spoken of
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.gossip.Events():
			n.meta.controller.Wake()
			n.meta.notify()
		case err := <-n.gossip.Conflict():
			return err
		case s := <-n.gossip.Strangers():
			if err := n.meet(s, told); err != nil {
				return err
			}
			if len(told) < maxStrangersTold {
				told[s.ID] = true
			}
		}
	}
}

// meet judges a node of another cluster: serving on, where this node was told to join
// it, would split what its operator takes for one.
func (n *Node) meet(s gossip.Stranger, told map[string]bool) error {
	if s.Seed && time.Since(n.started) < strangerCheck {
		return fmt.Errorf("%w: join: %s is a node of another cluster than %.8s, to which %s belongs", ErrOtherCluster, s.Addr, n.clusterID(), n.cfg.DataDir)
	}
	if !told[s.ID] {
		n.log.Warn("a node of another cluster has been met, and is not let in", "id", s.ID, "gossip_addr", s.Addr)
	}
	return nil
}

// watchStalls ends the process when a log sync has hung for too long: its shards are
// led elsewhere by then, and a supervisor may have a better disk.
func (n *Node) watchStalls(ctx context.Context) error {
	t := time.NewTimer(tick.Until(stallLook))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			t.Reset(tick.Until(stallLook))
			if d := n.disks.awake.atMost(time.Now(), n.disks.log.SyncPending()); d > stallExit {
				n.fatal(disk.Failing, fmt.Errorf("a sync of the raft log has hung for %v", d.Round(time.Second)))
			}
		}
	}
}

// gossipMeta is what gossip tells the others of this node.
func (n *Node) gossipMeta() gossip.Meta {
	id := n.clusterID()
	m := gossip.Meta{InCluster: id != "", Draining: n.leaving()}
	if id != "" {
		m.Cluster, _ = strconv.ParseUint(id[:16], 16, 64) // hex digits: see placement.ValidID
	}
	for _, p := range []struct {
		addr string
		to   *uint16
	}{{n.addrs.Peer, &m.PeerPort}, {n.addrs.Client, &m.ClientPort}, {n.addrs.HTTP, &m.HTTPPort}} {
		if _, port, err := placement.SplitAddr(p.addr); err == nil {
			*p.to = uint16(port)
		}
	}
	return m
}

// leaving reports whether leaderships should go to other nodes than this one.
func (n *Node) leaving() bool {
	return n.draining.Load() || n.space != nil && n.space.low.Load()
}

// clusterID returns the cluster this node belongs to, or "" while it is in none.
func (n *Node) clusterID() string {
	n.identMu.Lock()
	defer n.identMu.Unlock()
	return n.ident.ClusterID
}

// adopt makes this node one of the cluster, for good.
func (n *Node) adopt(clusterID string) error {
	n.identMu.Lock()
	defer n.identMu.Unlock()
	switch n.ident.ClusterID {
	case clusterID:
		return nil
	case "":
	default:
		return fmt.Errorf("%w: it holds %.8s, the cluster's map says %.8s", ErrOtherCluster, n.ident.ClusterID, clusterID)
	}
	id := n.ident
	id.ClusterID = clusterID
	if err := id.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.ident = id
	return nil
}

// submit sends a call to a node, this one included.
func (n *Node) submit(node string, c *call.Call) {
	if node == n.id {
		n.replicas.Submit(c)
		return
	}
	n.peers.Submit(node, c)
}

func (n *Node) cancel(node string, c *call.Call) {
	if node == n.id {
		n.replicas.Cancel(c)
		return
	}
	n.peers.Cancel(node, c)
}

// backend is the node as the router sees it.
type backend struct{ n *Node }

func (b backend) Submit(node string, c *call.Call) { b.n.submit(node, c) }
func (b backend) Cancel(node string, c *call.Call) { b.n.cancel(node, c) }

// handler is the node as its peers see it.
type handler struct {
	*replicas
	n *Node
}

// Hello implements peer.Handler.
func (h handler) Hello() peer.HelloInfo {
	return peer.HelloInfo{
		NodeID: h.n.id, ClusterID: h.n.clusterID(), Version: Version,
		Expect: uint32(h.n.cfg.BootstrapExpect), Lowest: h.n.lowest.Load().(string),
	}
}
