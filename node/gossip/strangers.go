package gossip

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// errStranger refuses a node of another cluster as a member. memberlist logs it.
var errStranger = errors.New("the node belongs to another cluster")

// Stranger is a node of another cluster that tried to become a member.
type Stranger struct {
	ID   string
	Addr string // host:port of its gossip
	// Seed means that the stranger has the address of one of Config.Seeds.
	Seed bool
}

// strangers refuses nodes of other clusters. Otherwise two clusters that have met once
// would share one gossip from then on, because each node keeps contacting all nodes
// that it has met.
type strangers struct {
	cluster atomic.Uint64 // Meta.Cluster of this node; 0 while it is in none
	met     chan Stranger // refused strangers; capacity 1

	mu    sync.Mutex
	seeds map[string]bool // ip:port of the seeds resolved so far; guarded by mu
}

func newStrangers() *strangers {
	return &strangers{met: make(chan Stranger, 1), seeds: make(map[string]bool)}
}

// seedAt notes the ip:port of a seed.
func (s *strangers) seedAt(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeds[addr] = true
}

// refuse returns an error for a node of another cluster. If either node is in no cluster
// yet, refuse returns nil. It is called with memberlist's lock held.
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
	default: // one stranger at a time is enough for the receiver
	}
	return errStranger
}

// Strangers returns a channel of refused nodes of other clusters. A stranger is dropped
// if an earlier one was not received yet.
func (g *Gossip) Strangers() <-chan Stranger { return g.strangers.met }
