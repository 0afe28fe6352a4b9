package placement

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a cluster. A command that would exceed one is refused.
const (
	// MaxShards limits the data shards, because even an idle shard costs each of its
	// nodes a little.
	MaxShards = 256
	// MaxNodes limits the nodes of a map, removed ones included. In a full map, a new
	// node takes the place of the removed node that joined first.
	MaxNodes = 1024
	// MaxReplicas limits the number of replicas that a shard can be given.
	MaxReplicas = 5
	// MaxMetaVoters limits the voters of the meta group.
	MaxMetaVoters = 5
	// maxAddrBytes limits the length of an address.
	maxAddrBytes = 255
	// idBytes is the length of a node or cluster ID: 20 bytes in lower-case hex.
	idBytes = 40
)

const (
	// MetaShard is the shard number of the meta group. Data shards are numbered from 1.
	MetaShard uint32 = 0
	// Slots is the number of hash slots; the data shards divide them among themselves.
	Slots = 16384
	// MetaSlot is the slot of the meta group's own keys. No client key hashes to it.
	MetaSlot uint16 = Slots
)

// NodeState says whether a node can be given replicas.
type NodeState uint8

const (
	// Active nodes can be given replicas.
	Active NodeState = iota + 1
	// Draining nodes are leaving the cluster: their replicas move to other nodes.
	Draining
	// Removed nodes have left for good. They stay in the map so that such a node is
	// refused if it comes back later. A forgotten node would join again as a new one.
	Removed
)

var nodeStates = [...]string{Active: "active", Draining: "draining", Removed: "removed"}

// String returns the word that NODE.STATE uses for s.
func (s NodeState) String() string {
	if int(s) < len(nodeStates) && nodeStates[s] != "" {
		return nodeStates[s]
	}
	return fmt.Sprintf("state%d", uint8(s))
}

// parseNodeState is the inverse of String.
func parseNodeState(s string) (NodeState, bool) {
	for i, w := range nodeStates {
		if w == s && w != "" {
			return NodeState(i), true
		}
	}
	return 0, false
}

// Settings are fixed when the cluster is created.
type Settings struct {
	Shards   int // data shards to create
	Replicas int // desired replicas of each shard; a smaller cluster has one per node
	Expect   int // active nodes that must have joined before the shards are created
}

// check returns the first invalid setting as an error, or nil.
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

// Node describes one node of the cluster. Other nodes and clients connect to its
// addresses, each in the form "host:port".
type Node struct {
	ID         string
	PeerAddr   string
	ClientAddr string
	GossipAddr string // may be empty
	HTTPAddr   string // may be empty
	Joined     uint64 // order of joining: 1 for the first node, 2 for the next, and so on
	State      NodeState
}

// check returns the first invalid field of n as an error, or nil.
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

// Shard describes a run of slots and the nodes that should keep its replicas.
type Shard struct {
	ID          uint32
	First, Last uint16 // its slots, both included
	// Version is the version of the map in which this shard last changed. A command that
	// changes the shard names the version it is based on, and is refused if that is old.
	Version uint64
	// Founded says that the shard has had a leader. Before that, each of the Founders
	// starts it with the same initial configuration, in which all Founders are voters.
	// Afterwards no node may start it in that way, because the group already exists.
	Founded  bool
	Founders []string
	// Replicas are the nodes that should keep a replica, in the order they were given.
	// The controller changes the Raft configuration to match.
	Replicas []string
	// Preferred is the replica that should lead, or empty if any may.
	Preferred string
}

// HasReplica reports whether the map assigns a replica of s to node id.
func (s *Shard) HasReplica(id string) bool { return slices.Contains(s.Replicas, id) }

// ShouldHost reports whether node id must run a replica of s: either the map assigns
// one to it, or it is a founder of a shard that has not had a leader yet. A node that
// runs a replica it should not host keeps it until the shard's leader reports a
// configuration without this node.
func (s *Shard) ShouldHost(id string) bool {
	return s.HasReplica(id) || !s.Founded && slices.Contains(s.Founders, id)
}

// Map is the cluster map. A published map never changes: Machine changes a clone.
type Map struct {
	Version   uint64 // rises by one with each change; a new cluster begins with 1
	ClusterID string
	Settings  Settings
	Nodes     []Node  // sorted by ID
	Shards    []Shard // sorted by ID (1 to n) and by slot; empty until they are created
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

// Node returns the node with the given ID, or nil.
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

// oldestRemoved returns the ID of the first-joined node that is removed and that no
// shard names, or "". Shards name their founders for good.
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

// Shard returns the data shard with the given ID, or nil.
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

// joined returns the IDs of the nodes for which want is true, in the order they joined.
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
		return 1 // no two nodes have the same number
	})
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	return ids
}

// Check returns the first rule that m breaks as an error, or nil. DecodeMap and every
// command check their result, so that a map obtained from this package can be trusted.
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
		return fmt.Errorf("%d nodes; a map has 1 to %d", len(m.Nodes), MaxNodes)
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
		return fmt.Errorf("%d shards; a map has at most %d", len(m.Shards), MaxShards)
	}
	next := 0
	for i := range m.Shards {
		s := &m.Shards[i]
		if s.ID != uint32(i+1) {
			return fmt.Errorf("shard %d is listed in place %d", s.ID, i+1)
		}
		if int(s.First) != next || s.Last < s.First {
			return fmt.Errorf("shard %d has slots %d to %d, but %d comes next", s.ID, s.First, s.Last, next)
		}
		next = int(s.Last) + 1
		if err := m.checkShard(s); err != nil {
			return fmt.Errorf("shard %d: %w", s.ID, err)
		}
	}
	if len(m.Shards) > 0 && next != Slots {
		return fmt.Errorf("the shards end at slot %d", next-1)
	}
	return nil
}

func (m *Map) checkShard(s *Shard) error {
	if s.Version == 0 || s.Version > m.Version {
		return fmt.Errorf("version %d is not between 1 and the map's version %d", s.Version, m.Version)
	}
	for _, l := range []struct {
		what string
		ids  []string
	}{{"founders", s.Founders}, {"replicas", s.Replicas}} {
		if len(l.ids) == 0 || len(l.ids) > MaxReplicas {
			return fmt.Errorf("%d %s; a shard has 1 to %d", len(l.ids), l.what, MaxReplicas)
		}
		for i, id := range l.ids {
			if m.Node(id) == nil {
				return fmt.Errorf("%s: no node %q", l.what, id)
			}
			if slices.Contains(l.ids[:i], id) {
				return fmt.Errorf("%s: node %s is listed twice", l.what, id)
			}
		}
	}
	if s.Preferred != "" && !s.HasReplica(s.Preferred) {
		return fmt.Errorf("preferred leader %s is not a replica", s.Preferred)
	}
	return nil
}

// ValidID reports whether id has the form of a node ID or cluster ID: 40 lower-case
// hex characters.
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

// SplitAddr splits "host:port" or "[v6]:port" into a host without brackets and a port
// from 1 to 65535, as CLUSTER SLOTS shows them. It does not resolve the host.
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
