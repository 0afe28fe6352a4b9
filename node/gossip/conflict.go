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

// ErrConflict: another process runs under this node's ID, and was there first. Two
// nodes under one name could vote twice: this one must not serve.
var ErrConflict = errors.New("gossip: another process has this node's ID")

// conflicts are sightings of this node's name at another address. Most are echoes of
// itself before a restart, and end once the others have noticed. One that answers a
// ping is a living namesake, as of a data directory that was copied.
type conflicts struct {
	mu     sync.Mutex
	latest time.Time // of any sighting; guarded by mu, as all below
	at     net.UDPAddr
	start  time.Time // of the process there, by its own word
	proved time.Time // first answer of the one at at

	seen chan struct{} // capacity 1
}

// conflictDelegate hears of name clashes with memberlist's lock held.
type conflictDelegate struct {
	self string
	c    *conflicts
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d conflictDelegate) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != d.self {
		return // its own business, or that of a restart: memberlist has logged it
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

// recent reports whether there was a sighting within the last d.
func (c *conflicts) recent(now time.Time, d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.latest.IsZero() && now.Sub(c.latest) < d
}

// verify pings the namesake. It returns ErrConflict when it has answered twice,
// ConflictWindow apart, and this node is the later of the two.
func (g *Gossip) verify() error {
	g.conflicts.mu.Lock()
	at, start := g.conflicts.at, g.conflicts.start
	g.conflicts.mu.Unlock()
	if at.Port == g.place.port && isLocal(at.IP) {
		return nil // a former address of this host: the answer would be our own
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
		g.log.Error("a later process runs under this node's ID", "at", at.String())
		return nil
	}
	return fmt.Errorf("%w: %s at %s", ErrConflict, g.cfg.NodeID, at.String())
}

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

// watch announces changes of this node's metadata, and looks into conflicts. It runs
// until ctx ends.
func (g *Gossip) watch(ctx context.Context) {
	tick := time.NewTicker(g.cfg.Timing.ConflictWindow)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.announce:
			// It goes out with the next gossip in any case; the wait only paces us.
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
