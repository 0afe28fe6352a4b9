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

// joins is the number of peers that are contacted at once.
const joins = 4

// keep contacts every peer and seed that is not a member, again and again, and keeps
// the peers file up to date, until ctx ends.
func (g *Gossip) keep(ctx context.Context) {
	k := keeper{g: g}
	var err error
	if k.known, err = loadPeers(g.cfg.PeersFile); err != nil {
		g.log.Warn("cannot read the list of peers, starting with an empty one", "error", err)
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
	saved time.Time // when the file was last written; zero before
}

// saveAfter is the age at which the file is rewritten even if no peer is new, because it
// holds the times at which the peers were last seen.
const saveAfter = 24 * time.Hour

// save adds the members that are alive to the known peers. It writes the file if a peer
// is new or has moved, if the file is older than saveAfter, or if end is set.
func (k *keeper) save(end bool) {
	now := time.Now()
	changed := k.known.meet(k.g.Members(), k.g.cfg.NodeID, now)
	if k.g.cfg.PeersFile == "" || !changed && !end && now.Sub(k.saved) < saveAfter {
		return
	}
	k.saved = now
	if err := k.known.save(k.g.cfg.PeersFile); err != nil {
		k.g.log.Warn("cannot write the list of peers", "error", err)
	}
}

// pause returns the time to wait after a round of rejoin. It is short in the first
// rounds, when other nodes are starting too, and longer while no other node is alive.
// With the default Rejoin of 10 s, the first waits are 0.5, 1 and 2 s, then 2 s up to
// round 6, or up to round 60 if no other node is alive, and 10 s from then on. A random
// time of up to half the wait is added.
func (g *Gossip) pause(round int) time.Duration {
	full := g.cfg.Timing.Rejoin
	if round < 6 || g.alone() && round < 60 {
		full = min(full, time.Second<<min(round, 2)/2)
	}
	return full + rand.N(full/2+1)
}

// alone reports whether no other member is alive.
func (g *Gossip) alone() bool {
	for _, m := range g.Members() {
		if m.Alive && m.ID != g.cfg.NodeID {
			return false
		}
	}
	return true
}

// rejoin contacts the seeds and the known peers that are not alive, at most joins at a
// time.
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
	// memberlist's own list cannot be used, because it changes while we read it.
	inSight := make(map[string]bool)
	for _, m := range g.Members() {
		if m.Alive {
			inSight[m.at] = true
		}
	}
	// Other nodes may still know this node at a former address, where they cannot reach
	// it. So this node contacts them, also the members, until they have the new address.
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
			isSeed := slices.Contains(g.cfg.Seeds, addr)
			at, err := dialable(ctx, addr)
			if err == nil {
				if isSeed {
					g.strangers.seedAt(at)
				}
				if ctx.Err() != nil || inSight[at] && !insist || at == g.at {
					g.trouble.joined(addr)
					return nil
				}
				_, err = g.list.Join([]string{at})
			}
			switch {
			case err == nil:
				g.trouble.joined(addr)
			case ctx.Err() != nil:
			case isSeed && g.trouble.failed(addr, time.Now()):
				g.log.Warn("a node named by --join cannot be joined", "join", addr, "error", plain(err), "remedy", remedy(err))
			default:
				g.log.Debug("cannot join a peer", "peer", addr, "error", err)
			}
			return nil
		})
	}
	_ = asks.Wait()
}

// dialable returns addr with an IP in place of its host, and with DefaultPort if it has
// no port.
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
