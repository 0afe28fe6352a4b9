package gossip

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxGone bounds the number of gone members that are remembered. Beyond it, the member
// that has been gone for the longest time is forgotten.
const maxGone = 256

// Member is a node that is alive as far as gossip can tell, or that was.
type Member struct {
	ID   string
	Addr string // the host to dial, a name or an IP
	// GossipPort is a port of Addr, like the ports in Meta.
	GossipPort uint16
	Meta       Meta // as last announced
	// Alive is false for a member that has left or no longer answers.
	Alive bool
	// Since is the time at which Alive last changed.
	Since time.Time

	start time.Time // of its process
	at    string    // ip:port under which memberlist knows it
}

// PeerAddr returns the host:port for other nodes.
func (m Member) PeerAddr() string { return m.join(m.Meta.PeerPort) }

// ClientAddr returns the host:port for clients.
func (m Member) ClientAddr() string { return m.join(m.Meta.ClientPort) }

// HTTPAddr returns the host:port for metrics and health.
func (m Member) HTTPAddr() string { return m.join(m.Meta.HTTPPort) }

// GossipAddr returns the host:port for gossip.
func (m Member) GossipAddr() string { return m.join(m.GossipPort) }

func (m Member) join(port uint16) string {
	return net.JoinHostPort(m.Addr, strconv.Itoa(int(port)))
}

// roster holds all members at one moment. It is immutable.
type roster struct {
	list []Member // ordered by ID
	byID map[string]Member
}

// members publishes a new roster for each event of memberlist. Its callbacks run with
// memberlist's lock held, so they take mu, publish, and return.
type members struct {
	mu      sync.Mutex
	all     map[string]Member // guarded by mu
	current atomic.Pointer[roster]
	changed chan struct{} // signalled after each change; capacity 1
	news    chan struct{} // the same, for keep
}

func newMembers() *members {
	m := &members{all: make(map[string]Member), changed: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	m.current.Store(&roster{})
	return m
}

// NotifyJoin implements memberlist.EventDelegate.
func (m *members) NotifyJoin(n *memberlist.Node) { m.heard(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (m *members) NotifyUpdate(n *memberlist.Node) { m.heard(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (m *members) NotifyLeave(n *memberlist.Node) { m.heard(n, false) }

// heard takes in an event about n and publishes the new roster.
func (m *members) heard(n *memberlist.Node, alive bool) {
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		return // NotifyAlive has refused the node
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	old, known := m.all[n.Name]
	v := Member{ID: n.Name, Addr: a.host, GossipPort: n.Port, Meta: a.Meta, Alive: alive, Since: now, start: a.start, at: n.Address()}
	if v.Addr == "" {
		v.Addr = n.Addr.String()
	}
	if known && old.Alive == alive {
		v.Since = old.Since
	}
	m.all[n.Name] = v
	m.forgetLocked()
	s := &roster{byID: maps.Clone(m.all), list: slices.SortedFunc(maps.Values(m.all), func(a, b Member) int {
		return cmp.Compare(a.ID, b.ID)
	})}
	m.current.Store(s)
	signal(m.changed)
	signal(m.news)
}

// forgetLocked drops one gone member if there are more than maxGone. The caller holds
// mu.
func (m *members) forgetLocked() {
	gone, oldest := 0, ""
	for id, v := range m.all {
		if v.Alive {
			continue
		}
		gone++
		if oldest == "" || v.Since.Before(m.all[oldest].Since) {
			oldest = id
		}
	}
	if gone > maxGone {
		delete(m.all, oldest)
	}
}

// signal sends on a channel of capacity 1 without blocking. A signal that is still
// there stands for this one too.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
