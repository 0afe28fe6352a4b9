package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrConflict means that another process runs under this node's ID and was started first.
// This node must not serve, because two nodes under one ID could vote twice.
var ErrConflict = errors.New("gossip: another process has this node's ID")

// conflicts holds the latest sighting of this node's name at another address. Most
// sightings are echoes: other nodes still spread the address that this node had before
// its restart, and stop once they have noticed. A sighting that answers a ping is a
// namesake, a living process with the same ID, as after copying a data directory.
type conflicts struct {
	mu     sync.Mutex
	latest time.Time   // when the name was last sighted; guarded by mu, like the next three
	at     net.UDPAddr // the address of the sighting
	start  time.Time   // when the process there was started, as it announced
	proved time.Time   // when at first answered a ping; zero before

	seen chan struct{} // signalled at each sighting; capacity 1
}

// conflictDelegate receives name conflicts from memberlist, which holds its lock.
type conflictDelegate struct {
	self string
	c    *conflicts
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d conflictDelegate) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != d.self {
		return // the conflict concerns another node, and memberlist has logged it
	}
	a, err := decodeAnnouncement(other.Meta)
	if err != nil {
		return
	}
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.latest = time.Now()
	if !d.c.at.IP.Equal(other.Addr) || d.c.at.Port != int(other.Port) {
		d.c.at = net.UDPAddr{IP: append(net.IP(nil), other.Addr...), Port: int(other.Port)}
		d.c.proved = time.Time{}
	}
	d.c.start = a.start
	signal(d.c.seen)
}

// recent reports whether the name was sighted within the last d.
func (c *conflicts) recent(now time.Time, d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.latest.IsZero() && now.Sub(c.latest) < d
}

// verify pings the latest sighting. It returns ErrConflict if the sighting has answered
// twice, ConflictWindow apart, and this node is the one that was started later.
func (g *Gossip) verify() error {
	g.conflicts.mu.Lock()
	at, start := g.conflicts.at, g.conflicts.start
	g.conflicts.mu.Unlock()
	if at.Port == g.addrs.port && isLocal(at.IP) {
		return nil // a former address of this host: we would ping ourselves
	}
	if _, err := g.list.Ping(g.cfg.NodeID, &at); err != nil {
		return nil // an echo
	}
	now := time.Now()
	g.conflicts.mu.Lock()
	defer g.conflicts.mu.Unlock()
	if !g.conflicts.at.IP.Equal(at.IP) || g.conflicts.at.Port != at.Port {
		return nil
	}
	if g.conflicts.proved.IsZero() {
		g.conflicts.proved = now
	}
	if now.Sub(g.conflicts.proved) < g.cfg.Timing.ConflictWindow {
		return nil
	}
	if g.start.Before(start) || g.start.Equal(start) && g.at < at.String() {
		g.log.Error("another process, started later, runs under this node's ID", "at", at.String())
		return nil
	}
	return fmt.Errorf("%w: %s at %s", ErrConflict, g.cfg.NodeID, at.String())
}

// isLocal reports whether ip belongs to this host.
func isLocal(ip net.IP) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// watch announces changes of this node's metadata and verifies sightings of its name,
// until ctx ends.
func (g *Gossip) watch(ctx context.Context) {
	tick := time.NewTicker(g.cfg.Timing.ConflictWindow)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.announce:
			// The change goes out with the next gossip in any case. Waiting for it only
			// limits the rate of changes.
			_ = g.list.UpdateNode(2 * g.cfg.Timing.Gossip)
			continue
		case <-g.conflicts.seen:
		case <-tick.C:
			if !g.conflicts.recent(time.Now(), 3*g.cfg.Timing.ConflictWindow) {
				continue
			}
		}
		if err := g.verify(); err != nil {
			select {
			case g.conflict <- err:
				g.log.Error("this node must not serve", "error", err)
			default:
			}
		}
	}
}
