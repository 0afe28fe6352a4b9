package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// DefaultPort is the port of a seed whose address has none.
const DefaultPort = 7946

var (
	// ErrConfig: the Config has an invalid value.
	ErrConfig = errors.New("gossip: bad configuration")
	// ErrNeedsKey: the bind address is not a loopback address, and there is no key.
	ErrNeedsKey = errors.New("gossip: an address beyond loopback needs a key")
)

// Config configures Start.
type Config struct {
	// NodeID is the ID of this node: 40 lower-case hex digits.
	NodeID string
	// BindAddr is the host:port to listen on, for TCP and UDP. Port 0 picks a free one.
	BindAddr string
	// Advertise is the host, a name or an IP, at which other nodes reach this one. Empty
	// stands for the host of BindAddr, or for the name of this machine if that host is
	// unspecified, as in ":7946".
	Advertise string
	// Label is the same on all nodes of a cluster, at most 255 bytes. Packets with
	// another label are dropped.
	Label string
	// SecretKey encrypts all packets. It has 16, 24 or 32 bytes and is the same on all
	// nodes. It may be nil only if BindAddr is a loopback address.
	SecretKey []byte
	// Seeds lists the host:port of nodes to join. Each is contacted again and again until
	// it is a member.
	Seeds []string
	// PeersFile is the path of a file with the nodes that this one has met, which are
	// contacted at the next start. Empty keeps no file.
	PeersFile string
	// MaxStreams is the number of TCP streams that other addresses may have open at once,
	// a quarter of them from one address. Another one is closed unread. 0 stands for 32.
	MaxStreams int
	// Meta describes this node to the others.
	Meta Meta
	// Logger may be nil, to log nothing.
	Logger *slog.Logger
	// Timing is changed by tests only; its zero value stands for the defaults.
	Timing Timing
}

// Timing sets intervals and timeouts. A field that is zero has the default in its
// comment.
//
// The defaults are about twice those of memberlist for a LAN, because failover does not
// wait for gossip and an idle node should cost next to nothing. The other nodes see a
// killed node as gone after 5 to 15 seconds.
type Timing struct {
	Probe          time.Duration // from one probe to the next, each of another member; 2 s
	ProbeTimeout   time.Duration // for the answer to a probe; 700 ms
	Gossip         time.Duration // from one round of queued messages to the next; 500 ms
	PushPull       time.Duration // from one full exchange with a random member to the next; 30 s
	DeadFor        time.Duration // how long a dead member is remembered and sent messages; 30 s
	Reclaim        time.Duration // until the name of a dead member may have a new address; 30 s
	TCP            time.Duration // for a TCP stream, to connect and to finish; 3 s
	Rejoin         time.Duration // between attempts to reach lost peers, plus up to half of it; 10 s
	ConflictWindow time.Duration // two answers of a namesake this far apart prove it alive; 3 s
}

func (t *Timing) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Probe, 2 * time.Second},
		{&t.ProbeTimeout, 700 * time.Millisecond},
		{&t.Gossip, 500 * time.Millisecond},
		{&t.PushPull, 30 * time.Second},
		{&t.DeadFor, 30 * time.Second},
		{&t.Reclaim, 30 * time.Second},
		{&t.TCP, 3 * time.Second},
		{&t.Rejoin, 10 * time.Second},
		{&t.ConflictWindow, 3 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// addresses are the addresses of this node, resolved from its Config.
type addresses struct {
	bind      net.IP // to listen on
	port      int
	advertise net.IP // sent to the other nodes
	host      string // the host of advertise: Config.Advertise, or the IP as text
}

// check checks the fields of c and resolves its addresses.
func (c *Config) check(ctx context.Context) (addresses, error) {
	if !validID(c.NodeID) {
		return addresses{}, fmt.Errorf("%w: node ID %q is not 40 lower-case hex digits", ErrConfig, c.NodeID)
	}
	if len(c.Label) > 255 {
		return addresses{}, fmt.Errorf("%w: the label has %d bytes, allowed are 255", ErrConfig, len(c.Label))
	}
	switch len(c.SecretKey) {
	case 0, 16, 24, 32:
	default:
		return addresses{}, fmt.Errorf("%w: the key has %d bytes, allowed are 16, 24 and 32", ErrConfig, len(c.SecretKey))
	}
	host, portText, err := net.SplitHostPort(c.BindAddr)
	if err != nil {
		return addresses{}, fmt.Errorf("%w: bind address: %w", ErrConfig, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return addresses{}, fmt.Errorf("%w: bind address %q: port: %w", ErrConfig, c.BindAddr, err)
	}
	p := addresses{bind: net.IPv4zero, port: int(port)}
	if host != "" {
		if p.bind, err = resolve(ctx, host); err != nil {
			return addresses{}, fmt.Errorf("gossip: bind address: %w", err)
		}
	}
	if len(c.SecretKey) == 0 && !p.bind.IsLoopback() {
		return addresses{}, fmt.Errorf("%w: %s", ErrNeedsKey, c.BindAddr)
	}
	p.host = c.Advertise
	switch {
	case p.host != "":
	case p.bind.IsUnspecified():
		if p.host, err = os.Hostname(); err != nil {
			return addresses{}, fmt.Errorf("gossip: no host to advertise: %w", err)
		}
	default:
		p.host = p.bind.String()
	}
	if len(p.host) > maxHostLen {
		return addresses{}, fmt.Errorf("%w: the advertised host has %d bytes, allowed are %d", ErrConfig, len(p.host), maxHostLen)
	}
	if p.advertise, err = resolve(ctx, p.host); err != nil {
		return addresses{}, fmt.Errorf("gossip: advertised host: %w", err)
	}
	return p, nil
}

// resolve returns an IP address of host, of version 4 if there is one.
func resolve(ctx context.Context, host string) (net.IP, error) {
	if ip := net.ParseIP(host); ip != nil {
		return ip, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if ip.IP.To4() != nil {
			return ip.IP, nil
		}
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("host %q has no address", host)
	}
	return ips[0].IP, nil
}

const resolveTimeout = 3 * time.Second

// validID reports whether id has the form of a node ID.
func validID(id string) bool {
	if len(id) != 40 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
