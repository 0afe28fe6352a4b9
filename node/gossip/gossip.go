package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Gossip is this node's part in the gossip of all nodes, from Start to Close. Its
// methods may be called from any goroutine.
type Gossip struct {
	trouble *seedTrouble
	cfg     Config
	log     *slog.Logger
	addrs   addresses
	at      string    // ip:port under which memberlist knows this node
	start   time.Time // of this process; truncated to a millisecond

	list      *memberlist.Memberlist
	transport *transport
	members   *members
	conflicts *conflicts
	strangers *strangers
	meta      atomic.Pointer[[]byte] // the encoded announcement
	announce  chan struct{}          // signalled when meta has changed; capacity 1
	conflict  chan error             // see Conflict; capacity 1

	stop    context.CancelFunc
	running sync.WaitGroup // counts keep and watch

	end    sync.Mutex // guards the two below
	left   bool
	closed bool
}

// Start opens the listeners and begins to contact the seeds and the known peers. It
// does not wait for any of them.
func Start(cfg Config) (*Gossip, error) {
	cfg.Timing.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &Gossip{
		cfg:       cfg,
		log:       cfg.Logger.With("part", "gossip"),
		start:     time.UnixMilli(time.Now().UnixMilli()),
		members:   newMembers(),
		conflicts: &conflicts{seen: make(chan struct{}, 1)},
		strangers: newStrangers(),
		announce:  make(chan struct{}, 1),
		trouble:   newSeedTrouble(),
		conflict:  make(chan error, 1),
		stop:      stop,
	}
	if err := g.open(ctx); err != nil {
		stop()
		return nil, err
	}
	g.running.Go(func() { g.keep(ctx) })  // contacts lost peers, keeps their file
	g.running.Go(func() { g.watch(ctx) }) // announces metadata, verifies name conflicts
	return g, nil
}

// open opens the listeners and starts memberlist.
func (g *Gossip) open(ctx context.Context) (err error) {
	if g.addrs, err = g.cfg.check(ctx); err != nil {
		return err
	}
	logger := newLogger(g.log)
	n, err := listen(&memberlist.NetTransportConfig{
		BindAddrs: []string{g.addrs.bind.String()},
		BindPort:  g.addrs.port,
		Logger:    logger,
	})
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.addrs.port = n.GetAutoBindPort()
	g.at = net.JoinHostPort(g.addrs.advertise.String(), strconv.Itoa(g.addrs.port))
	g.transport = newTransport(ctx, n, g.cfg.MaxStreams)
	g.SetMeta(g.cfg.Meta)

	t := g.cfg.Timing
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.NodeID
	c.Label = g.cfg.Label
	c.SecretKey = g.cfg.SecretKey
	c.Transport = g.transport
	c.BindAddr, c.BindPort = g.addrs.bind.String(), g.addrs.port
	c.AdvertiseAddr, c.AdvertisePort = g.addrs.advertise.String(), g.addrs.port
	c.Logger = logger
	c.Events = g.members
	c.Delegate = delegate{g}
	c.Alive = delegate{g}
	c.Conflict = conflictDelegate{g.cfg.NodeID, g.conflicts}
	// RequireNodeNames stays off, because the name of a seed is unknown at first.
	// Compression is off, because packets are small and an attacker would aim at the
	// decompression.
	c.EnableCompression = false
	c.TCPTimeout = t.TCP
	c.ProbeInterval, c.ProbeTimeout = t.Probe, t.ProbeTimeout
	c.GossipInterval, c.GossipToTheDeadTime = t.Gossip, t.DeadFor
	c.PushPullInterval = t.PushPull
	c.DeadNodeReclaimTime = t.Reclaim
	// A suspected member is declared dead after three probe intervals, or after six if no
	// other node confirms the suspicion. With three nodes there often is no other node.
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	if g.list, err = memberlist.Create(c); err != nil {
		return errors.Join(fmt.Errorf("gossip: %w", err), g.transport.Shutdown())
	}
	return nil
}

// listen opens the sockets. With port 0 it retries, because the port that the system
// picks for TCP may be in use for UDP.
func listen(c *memberlist.NetTransportConfig) (n *memberlist.NetTransport, err error) {
	for range 10 {
		n, err = memberlist.NewNetTransport(c)
		if err == nil || c.BindPort != 0 || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return n, err
}

// Members returns this node, the members that are alive and those remembered as gone,
// ordered by ID. The slice is shared and must not be changed.
func (g *Gossip) Members() []Member { return g.members.current.Load().list }

// Lookup returns the member with an ID, alive or gone.
func (g *Gossip) Lookup(id string) (Member, bool) {
	m, ok := g.members.current.Load().byID[id]
	return m, ok
}

// SetMeta changes the Meta that describes this node to the others. It does not wait
// until they have it.
func (g *Gossip) SetMeta(m Meta) {
	g.strangers.cluster.Store(m.Cluster)
	b := announcement{Meta: m, start: g.start, host: g.addrs.host}.encode()
	if old := g.meta.Swap(&b); old == nil || string(*old) == string(b) {
		return
	}
	signal(g.announce)
}

// Events returns a channel that is signalled after Members has changed. One signal may
// stand for several changes, and only one reader receives it.
func (g *Gossip) Events() <-chan struct{} { return g.members.changed }

// Conflict returns a channel that delivers an ErrConflict when this node must not
// serve.
func (g *Gossip) Conflict() <-chan error { return g.conflict }

// LocalAddr returns the host:port at which other nodes reach this node's gossip.
func (g *Gossip) LocalAddr() string {
	return net.JoinHostPort(g.addrs.host, strconv.Itoa(g.addrs.port))
}

// Leave tells the other nodes that this one leaves, and waits up to timeout until one
// of them has received that. Close must still be called.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.end.Lock()
	defer g.end.Unlock()
	if g.left || g.closed {
		return nil
	}
	g.left = true
	g.stop() // otherwise keep could contact a peer and make us a member again
	g.running.Wait()
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close closes the listeners and ends all goroutines. Without a Leave before, the other
// nodes find out by their probes that this one is gone.
func (g *Gossip) Close() error {
	g.end.Lock()
	defer g.end.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.stop()
	g.running.Wait()
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// delegate answers the callbacks of memberlist, which may hold its lock.
type delegate struct{ g *Gossip }

// NodeMeta implements memberlist.Delegate. Because of maxHostLen, the result never
// exceeds memberlist's limit.
func (d delegate) NodeMeta(int) []byte { return *d.g.meta.Load() }

// NotifyAlive implements memberlist.AliveDelegate. It refuses a node whose name or
// metadata is malformed, and a node of another cluster.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if !validID(n.Name) {
		return fmt.Errorf("the name %.60q is not a node ID", n.Name)
	}
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		return err
	}
	return d.g.strangers.refuse(n, a)
}

// NotifyMsg implements memberlist.Delegate. Millrace sends no user messages.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (delegate) MergeRemoteState([]byte, bool) {}
