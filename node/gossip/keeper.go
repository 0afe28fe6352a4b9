package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// joins is how many peers are asked at once.
const joins = 4

// keep asks for every peer and seed that is not a member, again and again, and keeps
// the peers file. It runs until ctx ends.
func (g *Gossip) keep(ctx context.Context) {
	k := keeper{g: g}
	var err error
	if k.known, err = loadPeers(g.cfg.PeersFile); err != nil {
		g.log.Warn("the list of peers cannot be read, and starts anew", "error", err)
	}
	defer k.save(true)
	next := time.NewTimer(0)
	defer next.Stop()
	for round := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-g.members.news:
			k.save(false)
		case <-next.C:
			k.save(false)
			g.rejoin(ctx, k.known)
			next.Reset(g.pause(round))
			round++
		}
	}
}

// keeper is the state of keep.
type keeper struct {
	g     *Gossip
	known peers
	saved time.Time
}

// saveAfter is how old the file may become: it says when a peer was last seen.
const saveAfter = 24 * time.Hour

// save notes who is in sight, and writes the file when somebody is new, or has moved,
// when the file is old, or at the end.
func (k *keeper) save(end bool) {
	now := time.Now()
	changed := k.known.meet(k.g.Members(), k.g.cfg.NodeID, now)
	if k.g.cfg.PeersFile == "" || !changed && !end && now.Sub(k.saved) < saveAfter {
		return
	}
	k.saved = now
	if err := k.known.save(k.g.cfg.PeersFile); err != nil {
		k.g.log.Warn("the list of peers cannot be written", "error", err)
	}
}

// pause is how long to wait after a round: short at the start, when other nodes
// start too, and while nobody is in sight.
func (g *Gossip) pause(round int) time.Duration {
	full := g.cfg.Timing.Rejoin
	if round < 6 || g.alone() && round < 60 {
		full = min(full, time.Second<<min(round, 2)/2)
	}
	return full + rand.N(full/2+1)
}

func (g *Gossip) alone() bool {
	for _, m := range g.Members() {
		if m.Alive && m.ID != g.cfg.NodeID {
			return false
		}
	}
	return true
}

// rejoin asks for what is not in sight, a few at a time, each within bounds.
func (g *Gossip) rejoin(ctx context.Context, known peers) {
	wanted := make(map[string]bool)
	for _, s := range g.cfg.Seeds {
		wanted[s] = true
	}
	for _, p := range known {
		if m, ok := g.Lookup(p.ID); !ok || !m.Alive {
			wanted[p.Addr] = true
		}
	}
	// Not memberlist's list: its nodes change under who reads them.
	inSight := make(map[string]bool)
	for _, m := range g.Members() {
		if m.Alive {
			inSight[m.at] = true
		}
	}
	// Others may hold this node under a former address, and cannot find it there:
	// it has to go to them, until they take the new one.
	insist := g.conflicts.recent(time.Now(), 3*g.cfg.Timing.Rejoin)
	if insist {
		for _, m := range g.Members() {
			if m.Alive && m.ID != g.cfg.NodeID {
				wanted[m.at] = true
			}
		}
	}
	var asks errgroup.Group
	asks.SetLimit(joins)
	for addr := range wanted {
		asks.Go(func() error {
			at, err := dialable(ctx, addr)
			if err != nil {
				g.log.Debug("a peer has no address", "peer", addr, "error", err)
				return nil
			}
			if slices.Contains(g.cfg.Seeds, addr) {
				g.strangers.seedAt(at)
			}
			if ctx.Err() != nil || inSight[at] && !insist || at == g.at {
				return nil
			}
			if _, err := g.list.Join([]string{at}); err != nil {
				g.log.Debug("a peer does not answer", "peer", addr, "error", err)
			}
			return nil
		})
	}
	_ = asks.Wait()
}

// dialable returns addr with an IP for a host.
func dialable(ctx context.Context, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, strconv.Itoa(DefaultPort)
	}
	ip, err := resolve(ctx, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ip.String(), port), nil
}
