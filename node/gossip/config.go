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

// DefaultPort is the port of a seed that names none.
const DefaultPort = 7946

var (
	// ErrConfig: a Config that cannot be used.
	ErrConfig = errors.New("gossip: bad configuration")
	// ErrNeedsKey: a bind address beyond loopback without a key.
	ErrNeedsKey = errors.New("gossip: an address beyond loopback needs a key")
)

// Config says how to take part.
type Config struct {
	// NodeID names the node: 40 lower-case hex digits.
	NodeID string
	// BindAddr is listened on, TCP and UDP: host:port. Port 0 picks one.
	BindAddr string
	// Advertise is the host under which others reach this node, a name or an IP;
	// empty is the bind address, or the host's name when that is every address.
	Advertise string
	// Label is the cluster's: packets with another one are dropped. At most 255
	// bytes.
	Label string
	// SecretKey encrypts all packets: 16, 24 or 32 bytes, the same on all nodes. It
	// may be nil only while BindAddr is loopback.
	SecretKey []byte
	// Seeds are host:port of nodes to ask, again and again, while they are not
	// members.
	Seeds []string
	// PeersFile keeps the nodes ever met, for the next start; empty keeps none.
	PeersFile string
	// Meta is what the others are told of this node.
	Meta Meta
	// Logger may be nil.
	Logger *slog.Logger
	// Timing is for tests; its zero value is the default.
	Timing Timing
}

// Timing is how often things are done. Each zero field has its default.
//
// The defaults are memberlist's for a LAN, slower by about two, since failover does
// not wait for gossip and an idle node should cost next to nothing. A node that was
// killed is seen as gone after 5 to 15 seconds.
type Timing struct {
	Probe          time.Duration // between probes of one member after the other: 2 s
	ProbeTimeout   time.Duration // for the answer: 700 ms
	Gossip         time.Duration // between sends of what is queued: 500 ms
	PushPull       time.Duration // between full exchanges with a random member: 30 s
	DeadFor        time.Duration // gossip goes to a dead member, and remembers it: 30 s
	Reclaim        time.Duration // a dead member's name may have a new address after: 30 s
	TCP            time.Duration // for a stream to connect and to end: 3 s
	Rejoin         time.Duration // between asks for peers that are not members, plus up to half: 10 s
	ConflictWindow time.Duration // two answers of a namesake this far apart prove it: 3 s
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

// place is where a node listens and what it calls that.
type place struct {
	bind      net.IP
	port      int
	advertise net.IP
	host      string // as others should say it: Advertise, or advertise
}

// check returns what c means in addresses.
func (c *Config) check(ctx context.Context) (place, error) {
	if !validID(c.NodeID) {
		return place{}, fmt.Errorf("%w: node ID %q is not 40 lower-case hex digits", ErrConfig, c.NodeID)
	}
	if len(c.Label) > 255 {
		return place{}, fmt.Errorf("%w: label of %d bytes", ErrConfig, len(c.Label))
	}
	switch len(c.SecretKey) {
	case 0, 16, 24, 32:
	default:
		return place{}, fmt.Errorf("%w: key of %d bytes", ErrConfig, len(c.SecretKey))
	}
	host, portText, err := net.SplitHostPort(c.BindAddr)
	if err != nil {
		return place{}, fmt.Errorf("%w: bind address: %w", ErrConfig, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return place{}, fmt.Errorf("%w: bind address %q: port: %w", ErrConfig, c.BindAddr, err)
	}
	p := place{bind: net.IPv4zero, port: int(port)}
	if host != "" {
		if p.bind, err = resolve(ctx, host); err != nil {
			return place{}, fmt.Errorf("gossip: bind address: %w", err)
		}
	}
	if len(c.SecretKey) == 0 && !p.bind.IsLoopback() {
		return place{}, fmt.Errorf("%w: %s", ErrNeedsKey, c.BindAddr)
	}
	p.host = c.Advertise
	switch {
	case p.host != "":
	case p.bind.IsUnspecified():
		if p.host, err = os.Hostname(); err != nil {
			return place{}, fmt.Errorf("gossip: no host to advertise: %w", err)
		}
	default:
		p.host = p.bind.String()
	}
	if len(p.host) > maxHostLen {
		return place{}, fmt.Errorf("%w: advertised host of %d bytes", ErrConfig, len(p.host))
	}
	if p.advertise, err = resolve(ctx, p.host); err != nil {
		return place{}, fmt.Errorf("gossip: advertised host: %w", err)
	}
	return p, nil
}

// resolve returns an IP of host, of version 4 if it has one.
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
