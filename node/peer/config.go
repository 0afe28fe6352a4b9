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

// Handler answers the requests of other nodes. The goroutines that read connections
// call its methods, so the methods must return at once. Calls may come until
// Peers.Close has returned.
type Handler interface {
	call.Backend
	// Probe returns the present state of this node's replica of the shard.
	Probe(shard uint32) call.Probe
	// Hello returns the description of this node for any caller that knows the secret.
	Hello() HelloInfo
}

// HelloInfo describes a node to another node, which may not know it yet.
type HelloInfo struct {
	NodeID    string
	ClusterID string // empty while the node belongs to no cluster
	Version   string // of the program, for humans to read
	// Expect and Lowest matter while a node belongs to no cluster. Expect is the number
	// of nodes with which it wants to start one, Lowest the least ID of the nodes that it
	// sees: that node would found the cluster.
	Expect uint32
	Lowest string
}

// Config configures Listen. It must not be changed afterwards.
type Config struct {
	// NodeID is the ID of this node, at most 64 bytes.
	NodeID string
	// ClusterID returns the ID of this node's cluster, at most 64 bytes, or "" while it
	// has none. It may change once, from "" to the ID. Connections to nodes of another
	// cluster are refused; one that is open when the ID becomes known is closed.
	ClusterID func() string
	// Secret is the cluster secret. Without one, ListenAddr must be a loopback address.
	Secret []byte
	// ListenAddr is the TCP address to listen on; port 0 lets the system choose.
	ListenAddr string
	// AdvertiseAddr is the address sent to the other nodes, which dial it when their
	// Resolve has none. Empty stands for the listener's address. If its host is
	// unspecified, as in ":7947" or "0.0.0.0:7947", the other node takes the host from
	// which it sees this node connect.
	AdvertiseAddr string
	// Resolve returns the address to dial for a node. It is called for each dial.
	Resolve func(nodeID string) (addr string, ok bool)
	Handler Handler
	// Logger may be nil, to log nothing.
	Logger *slog.Logger
	// Stalled reports whether syncs of the Raft log hang. While they do, this node sends
	// no AppendEntries and no snapshots, so that other nodes take over its leaderships.
	// nil stands for never.
	Stalled func() bool
	// TLS, if not nil, is used on both sides of every connection. If it has no
	// ServerName, the dialling side checks the certificate against the dialled host.
	TLS    *tls.Config
	Limits Limits
}

// Limits bounds the memory and the time of connections. A field that is zero takes the
// default that its comment ends with.
type Limits struct {
	// Calls is the number of forwarded calls, except Block and Wait, that may be open on
	// a connection in each direction. One more is answered call.ErrOverloaded. 16,384.
	Calls int
	// Blocked is the same bound for Block and Wait calls. 65,536.
	Blocked int
	// QueueBytes bounds each of a connection's two send queues, for Raft and for calls.
	// While a queue holds as much, further calls are answered call.ErrOverloaded and
	// Raft RPCs fail. The last frame may exceed the bound. 32 MiB.
	QueueBytes int
	// SnapshotRate is the number of bytes a second that the node sends for all its
	// snapshots together, at least 64 KiB. 64 MiB.
	SnapshotRate int64
	// RPC is the timeout of a Raft RPC; each MiB of it adds a second. 10 s.
	RPC time.Duration
	// HandshakeTimeout bounds dialling, and then the whole handshake. 5 s.
	HandshakeTimeout time.Duration
	// Handshakes is the number of accepted connections that may be in their handshake at
	// once; a quarter of them may come from one host. One more is closed unread. 128.
	Handshakes int
	// LazyFor is the longest time that a heartbeat waits for other frames to be written
	// with, and that its answer waits again. Both go out at the clock's next multiple of
	// LazyFor, or earlier with any other frame. Idle nodes then exchange heartbeats every
	// 2 × LazyFor, which must be well below Raft's heartbeat timeout. 250 ms.
	LazyFor time.Duration
	// PingEvery is the time between two pings on a connection. 1 s.
	PingEvery time.Duration
	// PingMisses is the number of PingEvery in a row without a byte received, while a
	// ping is open, after which a connection counts as dead. 4.
	PingMisses int
	// SnapshotProgress is the longest time in which not one byte of a snapshot moves. 30 s.
	SnapshotProgress time.Duration
	// SnapshotWait is the longest time that a snapshot waits for its turn, on each side. 1 min.
	SnapshotWait time.Duration
}

// fill sets the defaults and checks the fields.
func (l *Limits) fill() error {
	for _, f := range []struct {
		v   *int
		def int
	}{{&l.Calls, 16 << 10}, {&l.Blocked, 64 << 10}, {&l.QueueBytes, 32 << 20}, {&l.PingMisses, 4}, {&l.Handshakes, 128}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 {
			return errors.New("peer: a limit is negative")
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
			return errors.New("peer: a time limit is negative")
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

// Bounds that are not configurable.
const (
	// A node sends at most maxSnapshots snapshots at once, and receives at most as many.
	// Up to maxSnapshotsWaiting others may wait to be received. Any further one is refused.
	maxSnapshots        = 2
	maxSnapshotsWaiting = 16
	// maxRPCsWaiting is the number of RPCs that may wait for a shard's Raft. One more is
	// refused.
	maxRPCsWaiting = 64
	// maxAppendBytes is the size at which an AppendEntries is cut, so that one shard does
	// not keep the others waiting. Its first record is always sent whole.
	maxAppendBytes = 4 << 20
)

// check sets the defaults of c and returns an error if c cannot be used.
func (c *Config) check() error {
	switch {
	case c.NodeID == "" || len(c.NodeID) > maxNodeID:
		return fmt.Errorf("peer: the node ID has %d bytes, allowed are 1 to 64", len(c.NodeID))
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
