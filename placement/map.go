package placement

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a cluster. A command over one is refused.
const (
	// MaxShards bounds the data shards: each costs its nodes a little when idle.
	MaxShards = 256
	// MaxNodes bounds the nodes of a map, removed ones included: where it is reached,
	// the first to have joined of these makes room for a new node.
	MaxNodes = 1024
	// MaxReplicas bounds the replicas wanted of a shard.
	MaxReplicas = 5
	// MaxMetaVoters bounds the voters of the meta group.
	MaxMetaVoters = 5
	// maxAddrBytes bounds an address.
	maxAddrBytes = 255
	// idBytes is the length of a node or cluster ID: 20 bytes in lower-case hex.
	idBytes = 40
)

const (
	// MetaShard is the shard number of the meta group. Data shards are 1 to n.
	MetaShard uint32 = 0
	// Slots is the number of hash slots that the data shards share.
	Slots = 16384
	// MetaSlot is the slot under which the meta group keeps its keys; no key hashes to it.
	MetaSlot uint16 = Slots
)

// NodeState says what a node may be used for.
type NodeState uint8

const (
	// Active nodes are given replicas.
	Active NodeState = iota + 1
	// Draining nodes are leaving: their replicas move to others.
	Draining
	// Removed nodes are gone for good. They keep their place in the map, so that a node
	// that comes back late is told; one that was forgotten since would join as a new one.
	Removed
)

var nodeStates = [...]string{Active: "active", Draining: "draining", Removed: "removed"}

// String returns the word for s that NODE.STATE takes.
func (s NodeState) String() string {
	if int(s) < len(nodeStates) && nodeStates[s] != "" {
		return nodeStates[s]
	}
	return fmt.Sprintf("state%d", uint8(s))
}

// parseNodeState is String's inverse.
func parseNodeState(s string) (NodeState, bool) {
	for i, w := range nodeStates {
		if w == s && w != "" {
			return NodeState(i), true
		}
	}
	return 0, false
}

// Settings are given when the cluster is founded.
type Settings struct {
	Shards   int // data shards to create
	Replicas int // replicas wanted of each; fewer while there are fewer nodes
	Expect   int // active nodes before the shards are created
}

// check returns what is wrong with s, or nil.
func (s Settings) check() error {
	for _, f := range []struct {
		name      string
		n, lo, hi int
	}{
		{"shards", s.Shards, 1, MaxShards},
		{"replicas", s.Replicas, 1, MaxReplicas},
		{"expected nodes", s.Expect, 1, MaxNodes},
	} {
		if f.n < f.lo || f.n > f.hi {
			return fmt.Errorf("%d %s is not between %d and %d", f.n, f.name, f.lo, f.hi)
		}
	}
	return nil
}

// Node is a node as the map knows it. Addresses are "host:port", by which other nodes
// and clients reach it.
type Node struct {
	ID         string
	PeerAddr   string
	ClientAddr string
	GossipAddr string // may be empty
	HTTPAddr   string // may be empty
	Joined     uint64 // 1 for the founder, then rising in the order of joining
	State      NodeState
}

// check returns what is wrong with n, or nil.
func (n *Node) check() error {
	if !ValidID(n.ID) {
		return fmt.Errorf("%q is not a node ID", n.ID)
	}
	for _, a := range []struct {
		what, addr string
		optional   bool
	}{
		{"peer", n.PeerAddr, false}, {"client", n.ClientAddr, false},
		{"gossip", n.GossipAddr, true}, {"http", n.HTTPAddr, true},
	} {
		if a.addr == "" && a.optional {
			continue
		}
		if _, _, err := SplitAddr(a.addr); err != nil {
			return fmt.Errorf("%s address: %w", a.what, err)
		}
	}
	if n.Joined == 0 {
		return errors.New("a node has no place in the order of joining")
	}
	if n.State < Active || n.State > Removed {
		return fmt.Errorf("unknown node state %d", n.State)
	}
	return nil
}

// Shard is a run of slots and where its replicas belong.
type Shard struct {
	ID          uint32
	First, Last uint16 // its slots, both included
	// Version is the version of the map in which this shard last changed. Who changes
	// it says which version it saw.
	Version uint64
	// Founded says that the shard has had a leader. Until then each founder starts it
	// with the same first configuration, all Founders as voters; afterwards nobody does.
	Founded  bool
	Founders []string
	// Replicas are the nodes that should keep it, in the order they were given. The
	// controller makes it so.
	Replicas []string
	// Preferred is the replica that should lead, empty for any.
	Preferred string
}

// HasReplica reports whether the map wants a replica of s at node id.
func (s *Shard) HasReplica(id string) bool { return slices.Contains(s.Replicas, id) }

// ShouldHost reports whether node id must have a replica of s running: it is wanted
// there, or is to found the shard. A node that has a replica it should not host keeps
// it until the shard's leader has said that its configuration is without it.
func (s *Shard) ShouldHost(id string) bool {
	return s.HasReplica(id) || !s.Founded && slices.Contains(s.Founders, id)
}

// Map is the cluster map. A published map is never changed: Machine changes a clone.
type Map struct {
	Version   uint64 // rises with each change; 1 is the founding
	ClusterID string
	Settings  Settings
	Nodes     []Node  // sorted by ID
	Shards    []Shard // sorted by ID: 1 to n, and by slot; empty until created
}

// Clone returns a deep copy of m.
func (m *Map) Clone() *Map {
	c := *m
	c.Nodes = slices.Clone(m.Nodes)
	c.Shards = slices.Clone(m.Shards)
	for i := range c.Shards {
		c.Shards[i].Founders = slices.Clone(c.Shards[i].Founders)
		c.Shards[i].Replicas = slices.Clone(c.Shards[i].Replicas)
	}
	return &c
}

// Node returns the node with the ID, or nil.
func (m *Map) Node(id string) *Node {
	i, ok := m.nodeIndex(id)
	if !ok {
		return nil
	}
	return &m.Nodes[i]
}

func (m *Map) nodeIndex(id string) (int, bool) {
	return slices.BinarySearchFunc(m.Nodes, id, func(n Node, id string) int { return strings.Compare(n.ID, id) })
}

// oldestRemoved returns the removed node that joined first and that no shard names, or
// "" when there is none. Founders are named for good.
func (m *Map) oldestRemoved() string {
	named := map[string]bool{}
	for i := range m.Shards {
		for _, id := range m.Shards[i].Founders {
			named[id] = true
		}
	}
	var oldest *Node
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.State == Removed && !named[n.ID] && (oldest == nil || n.Joined < oldest.Joined) {
			oldest = n
		}
	}
	if oldest == nil {
		return ""
	}
	return oldest.ID
}

// Shard returns the data shard with the ID, or nil.
func (m *Map) Shard(id uint32) *Shard {
	if id == MetaShard || uint64(id) > uint64(len(m.Shards)) {
		return nil
	}
	return &m.Shards[id-1]
}

// Active returns the IDs of the active nodes in the order they joined.
func (m *Map) Active() []string {
	return m.joined(func(n *Node) bool { return n.State == Active })
}

// joined returns the IDs of the nodes that want says, in the order they joined.
func (m *Map) joined(want func(*Node) bool) []string {
	var nodes []*Node
	for i := range m.Nodes {
		if want(&m.Nodes[i]) {
			nodes = append(nodes, &m.Nodes[i])
		}
	}
	slices.SortFunc(nodes, func(a, b *Node) int {
		if a.Joined < b.Joined {
			return -1
		}
		return 1 // no two are equal
	})
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	return ids
}

// Check returns the first thing that makes m no map, or nil. Decode and every command
// end with it, so that a map in hand can be relied on.
func (m *Map) Check() error {
	if m.Version == 0 {
		return errors.New("version 0")
	}
	if !ValidID(m.ClusterID) {
		return fmt.Errorf("%q is not a cluster ID", m.ClusterID)
	}
	if err := m.Settings.check(); err != nil {
		return err
	}
	if len(m.Nodes) == 0 || len(m.Nodes) > MaxNodes {
		return fmt.Errorf("%d nodes, where 1 to %d may be", len(m.Nodes), MaxNodes)
	}
	joined := make(map[uint64]bool, len(m.Nodes))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if err := n.check(); err != nil {
			return err
		}
		if i > 0 && n.ID <= m.Nodes[i-1].ID {
			return fmt.Errorf("node %s is out of order", n.ID)
		}
		if joined[n.Joined] {
			return fmt.Errorf("two nodes joined as number %d", n.Joined)
		}
		joined[n.Joined] = true
	}
	if len(m.Shards) > MaxShards {
		return fmt.Errorf("%d shards, where at most %d may be", len(m.Shards), MaxShards)
	}
	next := 0
	for i := range m.Shards {
		s := &m.Shards[i]
		if s.ID != uint32(i+1) {
			return fmt.Errorf("shard %d stands in place %d", s.ID, i+1)
		}
		if int(s.First) != next || s.Last < s.First {
			return fmt.Errorf("shard %d has slots %d to %d, where %d comes next", s.ID, s.First, s.Last, next)
		}
		next = int(s.Last) + 1
		if err := m.checkShard(s); err != nil {
			return fmt.Errorf("shard %d: %w", s.ID, err)
		}
	}
	if len(m.Shards) > 0 && next != Slots {
		return fmt.Errorf("the shards end with slot %d", next-1)
	}
	return nil
}

func (m *Map) checkShard(s *Shard) error {
	if s.Version == 0 || s.Version > m.Version {
		return fmt.Errorf("version %d in a map of version %d", s.Version, m.Version)
	}
	for _, l := range []struct {
		what string
		ids  []string
	}{{"founders", s.Founders}, {"replicas", s.Replicas}} {
		if len(l.ids) == 0 || len(l.ids) > MaxReplicas {
			return fmt.Errorf("%d %s, where 1 to %d may be", len(l.ids), l.what, MaxReplicas)
		}
		for i, id := range l.ids {
			if m.Node(id) == nil {
				return fmt.Errorf("%s: no node %q", l.what, id)
			}
			if slices.Contains(l.ids[:i], id) {
				return fmt.Errorf("%s: node %s twice", l.what, id)
			}
		}
	}
	if s.Preferred != "" && !s.HasReplica(s.Preferred) {
		return fmt.Errorf("preferred leader %s is not a replica", s.Preferred)
	}
	return nil
}

// ValidID reports whether id has the form of a node or cluster ID: 40 lower-case hex
// characters.
func ValidID(id string) bool {
	if len(id) != idBytes {
		return false
	}
	for i := 0; i < len(id); i++ {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// SplitAddr splits "host:port", "[v6]:port" as CLUSTER SLOTS shows them: the host
// without brackets, the port as a number above zero. It asks no resolver.
func SplitAddr(addr string) (host string, port int, err error) {
	bad := func(why string) (string, int, error) {
		return "", 0, fmt.Errorf("%.80q %s", addr, why)
	}
	if len(addr) > maxAddrBytes {
		return bad("is longer than an address may be")
	}
	for i := 0; i < len(addr); i++ {
		if addr[i] <= ' ' || addr[i] >= 0x7F {
			return bad("has a character that an address has not")
		}
	}
	i := strings.LastIndexByte(addr, ':')
	if i <= 0 {
		return bad("is not HOST:PORT")
	}
	port, err = strconv.Atoi(addr[i+1:])
	if err != nil || port < 1 || port > 65535 || addr[i+1] == '+' {
		return bad("has no port between 1 and 65535")
	}
	host = addr[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.ContainsRune(host, ':') {
		return bad("has an IPv6 host without brackets")
	}
	if host == "" || strings.ContainsAny(host, "[]") {
		return bad("has no host")
	}
	return host, port, nil
}
