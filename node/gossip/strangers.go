package gossip

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// errStranger is why a node of another cluster is no member. memberlist logs it.
var errStranger = errors.New("the node is of another cluster")

// Stranger is a node of another cluster that was met.
type Stranger struct {
	ID   string
	Addr string // host:port of its gossip
	// Seed: it is at one of the addresses that this node was told to join.
	Seed bool
}

// strangers keeps nodes of other clusters out. Two clusters that heard of each other
// once would otherwise be one to gossip from then on, since each keeps asking for
// whom it has met.
type strangers struct {
	cluster atomic.Uint64 // this node's; 0: none yet
	met     chan Stranger // capacity 1

	mu    sync.Mutex
	seeds map[string]bool // ip:port of the seeds, as far as they are known; guarded by mu
}

func newStrangers() *strangers {
	return &strangers{met: make(chan Stranger, 1), seeds: make(map[string]bool)}
}

// seedAt notes where a seed is.
func (s *strangers) seedAt(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeds[addr] = true
}

// refuse returns an error for a node of another cluster. A node that is in none yet is
// no stranger to anybody. It is called with memberlist's lock held.
func (s *strangers) refuse(n *memberlist.Node, a announcement) error {
	if ours := s.cluster.Load(); ours == 0 || a.Cluster == 0 || a.Cluster == ours {
		return nil
	}
	s.mu.Lock()
	seed := s.seeds[net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))]
	s.mu.Unlock()
	host := a.host
	if host == "" {
		host = n.Addr.String()
	}
	select {
	case s.met <- Stranger{ID: n.Name, Addr: net.JoinHostPort(host, strconv.Itoa(int(n.Port))), Seed: seed}:
	default: // one is enough to look into
	}
	return errStranger
}

// Strangers gives nodes of other clusters that were met, and were not let in. What
// is not read in time is dropped.
func (g *Gossip) Strangers() <-chan Stranger { return g.strangers.met }
