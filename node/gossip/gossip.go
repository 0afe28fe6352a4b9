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

// Gossip takes part from Start to Close. Its methods may be called from any
// goroutine.
type Gossip struct {
	cfg   Config
	log   *slog.Logger
	place place
	at    string    // ip:port under which memberlist knows this node
	start time.Time // to the millisecond

	list      *memberlist.Memberlist
	transport *transport
	members   *members
	conflicts *conflicts
	strangers *strangers
	meta      atomic.Pointer[[]byte] // encoded announcement
	announce  chan struct{}          // capacity 1: meta has changed
	conflict  chan error             // capacity 1

	stop    context.CancelFunc
	running sync.WaitGroup // keep, watch

	end    sync.Mutex // guards the two below
	left   bool
	closed bool
}

// Start listens, and begins to ask for seeds and peers. It does not wait for any.
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
		conflict:  make(chan error, 1),
		stop:      stop,
	}
	if err := g.open(ctx); err != nil {
		stop()
		return nil, err
	}
	g.running.Go(func() { g.keep(ctx) })  // asks for peers, keeps their file
	g.running.Go(func() { g.watch(ctx) }) // announces metadata, looks into name clashes
	return g, nil
}

// open starts memberlist.
func (g *Gossip) open(ctx context.Context) (err error) {
	if g.place, err = g.cfg.check(ctx); err != nil {
		return err
	}
	logger := newLogger(g.log)
	n, err := listen(&memberlist.NetTransportConfig{
		BindAddrs: []string{g.place.bind.String()},
		BindPort:  g.place.port,
		Logger:    logger,
	})
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.place.port = n.GetAutoBindPort()
	g.at = net.JoinHostPort(g.place.advertise.String(), strconv.Itoa(g.place.port))
	g.transport = newTransport(ctx, n)
	g.SetMeta(g.cfg.Meta)

	t := g.cfg.Timing
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.NodeID
	c.Label = g.cfg.Label
	c.SecretKey = g.cfg.SecretKey
	c.Transport = g.transport
	c.BindAddr, c.BindPort = g.place.bind.String(), g.place.port
	c.AdvertiseAddr, c.AdvertisePort = g.place.advertise.String(), g.place.port
	c.Logger = logger
	c.Events = g.members
	c.Delegate = delegate{g}
	c.Alive = delegate{g}
	c.Conflict = conflictDelegate{g.cfg.NodeID, g.conflicts}
	// RequireNodeNames stays off: a seed has no name until it has been asked.
	// Packets are small, and unpacking is what an attacker would aim at.
	c.EnableCompression = false
	c.TCPTimeout = t.TCP
	c.ProbeInterval, c.ProbeTimeout = t.Probe, t.ProbeTimeout
	c.GossipInterval, c.GossipToTheDeadTime = t.Gossip, t.DeadFor
	c.PushPullInterval = t.PushPull
	c.DeadNodeReclaimTime = t.Reclaim
	// Suspicion lasts three probes, and not more than twice that when nobody else
	// confirms it: with three nodes there often is nobody else.
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	if g.list, err = memberlist.Create(c); err != nil {
		return errors.Join(fmt.Errorf("gossip: %w", err), n.Shutdown())
	}
	return nil
}

// listen retries a picked port: it must be free for TCP and for UDP.
func listen(c *memberlist.NetTransportConfig) (n *memberlist.NetTransport, err error) {
	for range 10 {
		n, err = memberlist.NewNetTransport(c)
		if err == nil || c.BindPort != 0 || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return n, err
}

// Members returns the nodes in sight and those that were, this one included, by ID.
// The slice is shared and must not be changed.
func (g *Gossip) Members() []Member { return g.members.current.Load().list }

// Lookup returns the member with an ID.
func (g *Gossip) Lookup(id string) (Member, bool) {
	m, ok := g.members.current.Load().byID[id]
	return m, ok
}

// SetMeta changes what others are told of this node. It does not wait for them.
func (g *Gossip) SetMeta(m Meta) {
	g.strangers.cluster.Store(m.Cluster)
	b := announcement{Meta: m, start: g.start, host: g.place.host}.encode()
	if old := g.meta.Swap(&b); old == nil || string(*old) == string(b) {
		return
	}
	signal(g.announce)
}

// Events is signalled after Members has changed. One signal may stand for several
// changes, and only one reader gets it.
func (g *Gossip) Events() <-chan struct{} { return g.members.changed }

// Conflict gives an ErrConflict, at most once, when this node must not serve.
func (g *Gossip) Conflict() <-chan error { return g.conflict }

// LocalAddr is host:port under which others find this node's gossip.
func (g *Gossip) LocalAddr() string {
	return net.JoinHostPort(g.place.host, strconv.Itoa(g.place.port))
}

// Leave tells the others that this node goes, and waits up to timeout until one of
// them has heard. Close still has to be called.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.end.Lock()
	defer g.end.Unlock()
	if g.left || g.closed {
		return nil
	}
	g.left = true
	g.stop() // nobody is to be asked to take us back
	g.running.Wait()
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close ends everything that Start began. Without Leave the others have to find out.
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

// delegate answers memberlist, which may hold its lock.
type delegate struct{ g *Gossip }

// NodeMeta implements memberlist.Delegate. The size is bounded by maxHostLen.
func (d delegate) NodeMeta(int) []byte { return *d.g.meta.Load() }

// NotifyAlive implements memberlist.AliveDelegate: whoever says nothing we can read
// is no member, and neither is a node of another cluster.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if !validID(n.Name) {
		return fmt.Errorf("name %.60q is no node ID", n.Name)
	}
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		return err
	}
	return d.g.strangers.refuse(n, a)
}

// NotifyMsg implements memberlist.Delegate: we send none.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (delegate) MergeRemoteState([]byte, bool) {}
