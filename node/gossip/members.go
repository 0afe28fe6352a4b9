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

// maxGone bounds the members that are remembered after they have gone; the one
// that has been gone longest is forgotten first.
const maxGone = 256

// Member is a node that is, or was, in sight.
type Member struct {
	ID   string
	Addr string // host to dial: a name or an IP
	// GossipPort goes with Addr, as the ports of Meta do.
	GossipPort uint16
	Meta       Meta // as last heard
	// Alive: it answers, as far as is known. Otherwise it has left or is gone.
	Alive bool
	// Since is from when on Alive has been what it is.
	Since time.Time

	start time.Time
	at    string // ip:port under which memberlist knows it
}

// PeerAddr is the host:port for other nodes.
func (m Member) PeerAddr() string { return m.join(m.Meta.PeerPort) }

// ClientAddr is the host:port for clients.
func (m Member) ClientAddr() string { return m.join(m.Meta.ClientPort) }

// HTTPAddr is the host:port for metrics and health.
func (m Member) HTTPAddr() string { return m.join(m.Meta.HTTPPort) }

// GossipAddr is the host:port for gossip.
func (m Member) GossipAddr() string { return m.join(m.GossipPort) }

func (m Member) join(port uint16) string {
	return net.JoinHostPort(m.Addr, strconv.Itoa(int(port)))
}

// snapshot is immutable.
type snapshot struct {
	list []Member // by ID
	byID map[string]Member
}

// members follows memberlist's events. Its callbacks run with memberlist's lock
// held: they take mu, publish, and return.
type members struct {
	mu      sync.Mutex
	all     map[string]Member // guarded by mu
	current atomic.Pointer[snapshot]
	changed chan struct{} // capacity 1: a signal that waits stands for all that follow
	news    chan struct{} // the same, for the keeper of peers
}

func newMembers() *members {
	m := &members{all: make(map[string]Member), changed: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	m.current.Store(&snapshot{})
	return m
}

// NotifyJoin implements memberlist.EventDelegate.
func (m *members) NotifyJoin(n *memberlist.Node) { m.heard(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (m *members) NotifyUpdate(n *memberlist.Node) { m.heard(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (m *members) NotifyLeave(n *memberlist.Node) { m.heard(n, false) }

func (m *members) heard(n *memberlist.Node, alive bool) {
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		return // NotifyAlive has refused it
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
	s := &snapshot{byID: maps.Clone(m.all), list: slices.SortedFunc(maps.Values(m.all), func(a, b Member) int {
		return cmp.Compare(a.ID, b.ID)
	})}
	m.current.Store(s)
	signal(m.changed)
	signal(m.news)
}

// forgetLocked keeps the members that are gone within their bound.
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

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
