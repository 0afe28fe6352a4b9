package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"millrace/call"
)

// Handler is this node's side of what other nodes ask. Its methods are called from
// the goroutines that read connections: they return at once. They may be called
// until Peers.Close returns.
type Handler interface {
	call.Backend
	// Probe says how this node's replica of the shard stands, now.
	Probe(shard uint32) call.Probe
	// Hello says what this node tells of itself to whoever asks and knows the secret.
	Hello() HelloInfo
}

// HelloInfo is what a node tells a node it may not know yet.
type HelloInfo struct {
	NodeID    string
	ClusterID string // empty while the node belongs to no cluster
	Version   string // of the program, for people
	// Expect and Lowest are what a node in no cluster says to others like it: how many
	// it wants to start one with, and whom of those it sees it would name founder.
	Expect uint32
	Lowest string
}

// Config is what Listen needs to know. It is not changed afterwards.
type Config struct {
	// NodeID is this node's, at most 64 bytes.
	NodeID string
	// ClusterID returns the cluster's ID, at most 64 bytes, or "" while none is known.
	// It may change once, from "" to the ID. Connections to nodes of another cluster
	// are refused, and closed when that turns out later.
	ClusterID func() string
	// Secret is the cluster secret. Without one only loopback addresses may be
	// listened on.
	Secret []byte
	// ListenAddr is the TCP address to listen on; port 0 lets the system choose.
	ListenAddr string
	// AdvertiseAddr is the address told to the nodes we connect to, which use it until
	// Resolve knows better; empty for the listener's own. An unspecified host in it
	// stands for the one they see us under.
	AdvertiseAddr string
	// Resolve names the address to dial for a node, and is asked at each dial.
	Resolve func(nodeID string) (addr string, ok bool)
	Handler Handler
	// Logger may be nil: then nothing is logged.
	Logger *slog.Logger
	// Stalled says that syncs of the Raft log hang. While it does, this node sends
	// nothing that a leader sends, so that others take its leaderships over. May be nil.
	Stalled func() bool
	// TLS is used on both sides of every connection if not nil. As a client it has the
	// dialled host for its ServerName unless one is set.
	TLS    *tls.Config
	Limits Limits
}

// Limits bounds what connections may hold and how long they may take. A zero field
// takes its default.
type Limits struct {
	// Calls is how many forwarded calls, Block and Wait excepted, may be open on a
	// connection in each direction; one more is answered call.ErrOverloaded. 16,384.
	Calls int
	// Blocked is the same for Block and Wait. 65,536.
	Blocked int
	// QueueBytes is how much may wait to be written on a connection, for Raft and for
	// calls each. Past it calls are answered call.ErrOverloaded and Raft RPCs fail;
	// one frame may overshoot it. 32 MiB.
	QueueBytes int
	// SnapshotRate is how many bytes of snapshots a second the node sends, all
	// together. 64 MiB; at least 64 KiB.
	SnapshotRate int64
	// RPC is how long a Raft RPC may take, and a second more for each MiB. 10 s.
	RPC time.Duration
	// HandshakeTimeout bounds dialling, and then the whole handshake. 5 s.
	HandshakeTimeout time.Duration
	// LazyFor is the longest time a heartbeat and its answer each wait for company:
	// they are written at the clock's next multiple of it, or with anything else that
	// is. Twice this is then the time between heartbeats of nodes that are idle: to be
	// well under Raft's heartbeat timeout. 250 ms.
	LazyFor time.Duration
	// PingEvery is how often each connection is looked after. 1 s.
	PingEvery time.Duration
	// PingMisses is after how many of these without a byte received, a ping being
	// open, a connection is given up as dead. 4.
	PingMisses int
	// SnapshotProgress is how long a snapshot may make no progress at all. 30 s.
	SnapshotProgress time.Duration
	// SnapshotWait is how long a snapshot may wait for its turn on either side. 1 min.
	SnapshotWait time.Duration
}

func (l *Limits) fill() error {
	for _, f := range []struct {
		v   *int
		def int
	}{{&l.Calls, 16 << 10}, {&l.Blocked, 64 << 10}, {&l.QueueBytes, 32 << 20}, {&l.PingMisses, 4}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 {
			return errors.New("peer: a negative limit")
		}
	}
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&l.RPC, 10 * time.Second}, {&l.HandshakeTimeout, 5 * time.Second}, {&l.PingEvery, time.Second}, {&l.LazyFor, 250 * time.Millisecond},
		{&l.SnapshotProgress, 30 * time.Second}, {&l.SnapshotWait, time.Minute}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 {
			return errors.New("peer: a negative time limit")
		}
	}
	if l.SnapshotRate == 0 {
		l.SnapshotRate = 64 << 20
	}
	if l.SnapshotRate < 64<<10 {
		return fmt.Errorf("peer: a snapshot rate of %d bytes a second is below 64 KiB", l.SnapshotRate)
	}
	return nil
}

// Bounds that no setting changes.
const (
	// maxUnproved is how many connections may be in their handshake, and
	// maxUnprovedHost how many of them from one host. One more is closed unread.
	maxUnproved     = 128
	maxUnprovedHost = 32
	// maxSnapshots is how many snapshots a node sends at once, and how many it takes;
	// maxSnapshotsWaiting is how many more may wait to be taken. One more is refused.
	maxSnapshots        = 2
	maxSnapshotsWaiting = 16
	// maxRPCsWaiting is how many RPCs wait for a shard's Raft. One more is refused.
	maxRPCsWaiting = 64
	// maxAppendBytes is where an AppendEntries is cut, so that no shard keeps the
	// others waiting; its first record goes whole.
	maxAppendBytes = 4 << 20
)

func (c *Config) check() error {
	switch {
	case c.NodeID == "" || len(c.NodeID) > maxNodeID:
		return fmt.Errorf("peer: a node ID of %d bytes", len(c.NodeID))
	case c.ClusterID == nil || c.Resolve == nil || c.Handler == nil:
		return errors.New("peer: ClusterID, Resolve and Handler must be given")
	}
	if len(c.Secret) == 0 {
		addr, err := net.ResolveTCPAddr("tcp", c.ListenAddr)
		if err != nil {
			return fmt.Errorf("peer: listen address %q: %w", c.ListenAddr, err)
		}
		if !addr.IP.IsLoopback() {
			return fmt.Errorf("%w: %s", ErrNoSecret, c.ListenAddr)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stalled == nil {
		c.Stalled = func() bool { return false }
	}
	return c.Limits.fill()
}
