package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/node/gossip"
	"millrace/node/peer"
	"millrace/placement"
	"millrace/raftlog/disk"
	"millrace/router"
	"millrace/stream"
)

// Node is one Millrace process. Open makes it, and Run runs it until it stops.
type Node struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File // holds the lock on the data directory

	clock   clock
	id      string // this node's ID; it never changes after Open
	identMu sync.Mutex
	ident   identity // guarded by identMu

	files   descriptors
	fs      vfs.FS // the file system of the databases and of staged snapshots
	space   *space
	disks   *disks
	clients net.Listener // the router owns it once router is set
	peers   *peer.Peers
	gossip  *gossip.Gossip
	router  *router.Router
	http    *httpServer // nil if HTTPAddr is empty
	metrics *prometheus.Registry

	replicas *replicas
	delivery *delivery
	maps     *placement.Holder
	leaders  *placement.Leaders
	meta     *metaGroup
	hosting  *hosting
	caller   *leaderCaller
	addrs    Addresses

	lowest   atomic.Value           // string: the node that should create a cluster, as seen from here; see placement.Greeting
	waitsFor atomic.Pointer[string] // why this node is in no cluster yet; nil at first
	draining atomic.Bool
	stopping chan struct{} // closed when a client has sent SHUTDOWN
	lookups  stream.Lookups
	expired  atomic.Int64 // expired names that this node's shards have removed
	failed   chan error   // the first error that ends Run; room for one
	started  time.Time
}

// Open opens the listeners and the disks, and starts this node's replicas. If it fails,
// it closes everything again, and has at most filled a directory that was empty.
func Open(cfg Config) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := newNode(cfg)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	for _, step := range []func() error{
		n.openDir,
		n.listen, // before the disks, so that a port in use is found before anything is written
		n.openStorage,
		n.advertise,
		n.startGossip,
		n.startReplicas,
		n.startRouter,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := n.addrs.save(cfg.DataDir); err != nil {
		return nil, err
	}
	return n, nil
}

// newNode returns a Node with nothing open.
func newNode(cfg Config) *Node {
	n := &Node{
		cfg: cfg, log: cfg.Logger, metrics: prometheus.NewRegistry(), replicas: newReplicas(),
		maps: placement.NewHolder(), leaders: placement.NewLeaders(),
		failed: make(chan error, 1), stopping: make(chan struct{}), started: time.Now(),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	return n
}

// openDir locks the data directory, and reads or creates this node's identity.
func (n *Node) openDir() (err error) {
	dir := n.cfg.DataDir
	if err := prepareDir(dir); err != nil {
		return err
	}
	if n.lock, err = lockDir(dir); err != nil {
		return err
	}
	if n.ident, err = loadIdentity(dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, recoveryFile)); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrRecovering)
	}
	n.id = n.ident.NodeID
	n.log = n.log.With("node", n.id[:8])
	n.lowest.Store(n.id)
	return nil
}

// listen opens the listeners for clients, peers and HTTP, and checks that gossip's address
// is free. Gossip itself starts once the disks are open, so that a node is not announced
// before it can answer.
func (n *Node) listen() (err error) {
	limit, err := descriptorLimit()
	if err != nil {
		return err
	}
	if n.files, err = divideDescriptors(limit); err != nil {
		return err
	}
	if n.clients, err = net.Listen("tcp", n.cfg.ClientAddr); err != nil {
		return fmt.Errorf("client-addr: %w", err)
	}
	n.peers, err = peer.Listen(peer.Config{
		NodeID: n.id, ClusterID: n.clusterID, Secret: n.cfg.Secret, ListenAddr: n.cfg.PeerAddr,
		Resolve: n.resolve, Handler: peerHandler{n.replicas, n}, Logger: n.log,
		Stalled: func() bool { return n.disks != nil && n.disks.stalled() },
		Limits:  peer.Limits{Handshakes: n.files.handshakes},
	})
	if err != nil {
		return fmt.Errorf("peer-addr: %w", err)
	}
	n.delivery = &delivery{self: n.id, local: n.replicas, peers: n.peers}
	n.caller = &leaderCaller{backend: n.delivery, leaders: routerLeaders{n.leaders}, nodesToAsk: n.nodesToAsk}
	if n.cfg.HTTPAddr != "" {
		if n.http, err = listenHTTP(n.cfg.HTTPAddr, n.files.http, n, n.metrics, n.cfg.Pprof); err != nil {
			return fmt.Errorf("http-addr: %w", err)
		}
	}
	if err := checkFree(n.cfg.GossipAddr); err != nil {
		return fmt.Errorf("gossip-addr: %w", err)
	}
	return nil
}

// checkFree returns an error if gossip could not listen on addr, over both TCP and UDP.
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

// openStorage opens the databases, and checks that they are complete.
func (n *Node) openStorage() (err error) {
	dir := n.cfg.DataDir
	if n.fs, err = openFS(dir); err != nil {
		return err
	}
	n.space = &space{fs: n.fs, dir: dir}
	n.replicas.space = n.space
	if n.disks, err = openDisks(n.fs, dir, diskBudget{n.cfg.MemoryBytes, n.files.tables}, n.log, n.fatal, n.space.diskFull); err != nil {
		if ExitCode(err) == disk.Full.ExitCode() {
			err = fmt.Errorf("%w; %s", err, n.spaceHint())
		}
		return err
	}
	n.layBallast()
	return n.disks.checkComplete(dir, n.ident)
}

// startReplicas finishes interrupted removals, and then opens the replica of the meta
// group. The map in the meta group lists the other replicas of this node; hosting.run
// opens those.
func (n *Node) startReplicas() error {
	n.hosting = newHosting(n)
	if err := n.hosting.finishRetiring(); err != nil {
		return err
	}
	return openMeta(n)
}

// startRouter makes the router, which takes over the listener for clients.
func (n *Node) startRouter() (err error) {
	rc := router.Config{
		NodeID: n.id, Listener: n.clients, Backend: n.delivery, Topology: n.topology, Leaders: routerLeaders{n.leaders},
		RequirePass: n.cfg.RequirePass, Version: Version, Info: n.info, Progress: n.progress, Shutdown: n.shutdown(),
		DataDir: n.cfg.DataDir, EnableFlush: n.cfg.EnableFlush, Logger: n.log,
		Limits: router.Limits{MaxConnections: n.files.clients},
	}
	if n.cfg.EnableDebug {
		n.log.Warn("enable-debug is set: clients can disturb this node with DEBUG")
		rc.Debug = n.debug
	}
	if n.router, err = router.New(rc); err != nil {
		return err
	}
	if n.cfg.HTTPAddr != "" {
		n.registerMetrics()
	}
	return nil
}

// close closes everything that is open, in the reverse order of Open.
func (n *Node) close() error {
	var errs []error
	if n.router != nil {
		errs = append(errs, n.router.Close())
	} else if n.clients != nil {
		n.clients.Close()
	}
	if n.http != nil {
		n.http.ln.Close()
	}
	errs = append(errs, n.replicas.close())
	if n.gossip != nil {
		// An error means that some node has not heard the goodbye. It will notice by itself.
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
