package placement

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/resp"
)

// ErrUnknownCommand is returned by Apply for a command that this build does not know:
// a newer build proposed it, or the log is damaged. The shard then halts on this node.
var ErrUnknownCommand = errors.New("placement: unknown command of the meta group")

// command is a command of the meta group. change returns the map that follows m. It
// never changes m itself, which is nil until the cluster is created. If the command has
// no effect, change returns m; that makes each command idempotent. The text of an error
// is the reply. It starts with "ERR", or with "STALE" if the sender has seen an older
// version and should read the map again.
type command struct {
	name   string
	usage  string
	arity  int // number of words including the name; -n means at least n
	change func(m *Map, args []string) (*Map, error)
}

// lookup returns the command that argv names. The switch is the whole command table; MAP
// is the only read.
func lookup(argv [][]byte) (*command, error) {
	name := ""
	if len(argv) > 0 {
		name = strings.ToUpper(string(argv[0]))
	}
	switch name {
	case "MAP":
		return &command{name, "MAP", 1, nil}, nil
	case "FOUND":
		return &command{name, "FOUND cluster shards replicas expect node peer client gossip http", 10, createCluster}, nil
	case "NODE.JOIN":
		return &command{name, "NODE.JOIN cluster node peer client gossip http", 7, withMap(nodeJoin)}, nil
	case "NODE.STATE":
		return &command{name, "NODE.STATE node active|draining|removed", 3, withMap(nodeState)}, nil
	case "SHARDS.CREATE":
		return &command{name, "SHARDS.CREATE map-version", 2, withMap(shardsCreate)}, nil
	case "SHARD.FOUNDED":
		return &command{name, "SHARD.FOUNDED shard", 2, withMap(shardFounded)}, nil
	case "SHARD.REPLICAS":
		return &command{name, "SHARD.REPLICAS shard shard-version node [node ...]", -4, withMap(shardReplicas)}, nil
	case "SHARD.PREFER":
		return &command{name, "SHARD.PREFER shard shard-version node", 4, withMap(shardPrefer)}, nil
	}
	return nil, fmt.Errorf("%w: %.40q", ErrUnknownCommand, name)
}

// badArity returns the refusal to send if argv has too few or too many words.
func (c *command) badArity(argv [][]byte) (resp.Value, bool) {
	if c.arity >= 0 && len(argv) == c.arity || c.arity < 0 && len(argv) >= -c.arity {
		return resp.Value{}, false
	}
	return resp.Err("ERR wrong number of words: " + c.usage), true
}

// withMap returns change, preceded by a refusal until the cluster has been created.
func withMap(change func(*Map, []string) (*Map, error)) func(*Map, []string) (*Map, error) {
	return func(m *Map, args []string) (*Map, error) {
		if m == nil {
			return nil, errors.New("ERR the cluster has not been created yet")
		}
		return change(m, args)
	}
}

// next returns a clone of m with the next version number.
func (m *Map) next() *Map {
	c := m.Clone()
	c.Version++
	return c
}

func refuse(format string, args ...any) (*Map, error) {
	return nil, fmt.Errorf("ERR "+format, args...)
}

func stale(thing string, version, named uint64) (*Map, error) {
	return nil, fmt.Errorf("STALE %s is at version %d, not %d", thing, version, named)
}

// createCluster runs FOUND. It makes the first map from the cluster's ID, its settings and
// its first node. Repeating it for the same cluster changes nothing.
func createCluster(m *Map, args []string) (*Map, error) {
	if m != nil {
		if m.ClusterID == args[0] {
			return m, nil
		}
		return refuse("the cluster already exists as %s, not %.40q", m.ClusterID, args[0])
	}
	if !ValidID(args[0]) {
		return refuse("%.40q is not a cluster ID", args[0])
	}
	var n [3]int
	for i, what := range []string{"shards", "replicas", "expect"} {
		v, err := strconv.Atoi(args[1+i])
		if err != nil {
			return refuse("%s: %.40q is not a number", what, args[1+i])
		}
		n[i] = v
	}
	m = &Map{Version: 1, ClusterID: args[0], Settings: Settings{Shards: n[0], Replicas: n[1], Expect: n[2]}}
	if err := m.Settings.check(); err != nil {
		return refuse("%v", err)
	}
	node := nodeOf(args[4:])
	node.Joined = 1
	if err := node.check(); err != nil {
		return refuse("%v", err)
	}
	m.Nodes = []Node{node}
	return m, nil
}

// nodeOf makes an active node from its ID and its peer, client, gossip and HTTP addresses.
func nodeOf(args []string) Node {
	return Node{ID: args[0], PeerAddr: args[1], ClientAddr: args[2], GossipAddr: args[3], HTTPAddr: args[4], State: Active}
}

// nodeJoin adds a node, or updates the addresses of a node that has already joined.
func nodeJoin(m *Map, args []string) (*Map, error) {
	if args[0] != m.ClusterID {
		return refuse("this is cluster %s, not %.40q", m.ClusterID, args[0])
	}
	node := nodeOf(args[1:])
	old := m.Node(node.ID)
	forget := ""
	switch {
	case old == nil:
		if len(m.Nodes) >= MaxNodes {
			if forget = m.oldestRemoved(); forget == "" {
				return refuse("the cluster already has %d nodes, which is the limit", MaxNodes)
			}
		}
		for i := range m.Nodes {
			node.Joined = max(node.Joined, m.Nodes[i].Joined)
		}
		node.Joined++
	case old.State == Removed:
		return refuse("node %s has been removed from the cluster; start it with an empty data directory to join as a new node", node.ID)
	default:
		node.Joined, node.State = old.Joined, old.State
	}
	if err := node.check(); err != nil {
		return refuse("%v", err)
	}
	if old != nil && *old == node {
		return m, nil
	}
	m = m.next()
	if i, ok := m.nodeIndex(forget); ok {
		m.Nodes = slices.Delete(m.Nodes, i, i+1)
	}
	if i, ok := m.nodeIndex(node.ID); ok {
		m.Nodes[i] = node
	} else {
		m.Nodes = slices.Insert(m.Nodes, i, node)
	}
	return m, nil
}

// nodeState sets the state of a node. A removal is final and is refused while the map
// assigns a replica to the node. The sender must also make sure first that the node no
// longer votes in any shard, the meta group included: a removed node may be switched
// off, and the map does not show the votes.
func nodeState(m *Map, args []string) (*Map, error) {
	node := m.Node(args[0])
	if node == nil {
		return refuse("no node %.40q", args[0])
	}
	state, ok := parseNodeState(args[1])
	if !ok {
		return refuse("%.40q is not a node state (active, draining or removed)", args[1])
	}
	switch {
	case state == node.State:
		return m, nil
	case node.State == Removed:
		return refuse("node %s has been removed", node.ID)
	case node.State == Active && len(m.Active()) == 1:
		return refuse("node %s is the only active node", node.ID)
	case state == Removed:
		for i := range m.Shards {
			if m.Shards[i].ShouldHost(node.ID) {
				return refuse("node %s has a replica of shard %d; drain the node first", node.ID, m.Shards[i].ID)
			}
		}
	}
	m = m.next()
	m.Node(args[0]).State = state
	return m, nil
}

// shardsCreate divides the slots among the shards and places the shards on the active
// nodes. Shard 1 gets the first nodes in the order of joining, shard 2 starts one node
// further on, and so forth. With nodes a, b, c, d and 3 replicas, shard 1 is placed on
// a, b, c and shard 2 on b, c, d. The first node of each is its preferred leader, so that
// leaders are spread as evenly as replicas.
//
// The command is refused while fewer nodes than expected have joined. That makes it
// harmless if a network partition at the first start leads two nodes to create a cluster
// each: a node joins only one cluster, so at most one of the two ever has shards.
func shardsCreate(m *Map, args []string) (*Map, error) {
	named, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return refuse("%.40q is not a version", args[0])
	}
	if len(m.Shards) > 0 {
		return m, nil
	}
	if named != m.Version {
		return stale("the map", m.Version, named)
	}
	nodes := m.Active()
	if len(nodes) < m.Settings.Expect {
		return refuse("%d active nodes, but %d are expected", len(nodes), m.Settings.Expect)
	}
	m = m.next()
	n, replicas := m.Settings.Shards, min(m.Settings.Replicas, len(nodes))
	for i := range n {
		s := Shard{
			ID: uint32(i + 1), First: uint16(i * Slots / n), Last: uint16((i+1)*Slots/n - 1), Version: m.Version,
		}
		for j := range replicas {
			s.Founders = append(s.Founders, nodes[(i+j)%len(nodes)])
		}
		s.Replicas = slices.Clone(s.Founders)
		s.Preferred = s.Founders[0]
		m.Shards = append(m.Shards, s)
	}
	return m, nil
}

// shardArg returns the shard with the number in word.
func shardArg(m *Map, word string) (*Shard, error) {
	id, err := strconv.ParseUint(word, 10, 32)
	if err != nil || m.Shard(uint32(id)) == nil {
		return nil, fmt.Errorf("ERR no shard %.40q", word)
	}
	return m.Shard(uint32(id)), nil
}

// shardFounded records that a shard has had a leader.
func shardFounded(m *Map, args []string) (*Map, error) {
	s, err := shardArg(m, args[0])
	if err != nil {
		return nil, err
	}
	if s.Founded {
		return m, nil
	}
	m = m.next()
	s = m.Shard(s.ID)
	s.Founded, s.Version = true, m.Version
	return m, nil
}

// shardAt returns the shard that a command names, and the version that it names.
func shardAt(m *Map, args []string) (s *Shard, named uint64, err error) {
	s, err = shardArg(m, args[0])
	if err != nil {
		return nil, 0, err
	}
	named, err = strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("ERR %.40q is not a version", args[1])
	}
	return s, named, nil
}

// shardReplicas sets the nodes that should keep a shard. Added nodes must be active.
func shardReplicas(m *Map, args []string) (*Map, error) {
	s, named, err := shardAt(m, args)
	if err != nil {
		return nil, err
	}
	ids := args[2:]
	if slices.Equal(ids, s.Replicas) {
		return m, nil
	}
	if named != s.Version {
		return stale("shard "+args[0], s.Version, named)
	}
	if len(ids) > MaxReplicas {
		return refuse("%d replicas are too many; the limit is %d", len(ids), MaxReplicas)
	}
	for i, id := range ids {
		n := m.Node(id)
		switch {
		case n == nil:
			return refuse("no node %.40q", id)
		case slices.Contains(ids[:i], id):
			return refuse("node %s is listed twice", id)
		case n.State != Active && !s.HasReplica(id):
			return refuse("node %s is %s", id, n.State)
		}
	}
	if !s.Founded {
		return refuse("shard %d has not had a leader yet", s.ID)
	}
	m = m.next()
	s = m.Shard(s.ID)
	s.Replicas, s.Version = slices.Clone(ids), m.Version
	if s.Preferred != "" && !s.HasReplica(s.Preferred) {
		s.Preferred = leastPreferred(m, s)
	}
	return m, nil
}

// leastPreferred returns the replica of s that is the preferred leader of the fewest
// shards, or the first of several. Active nodes come before others.
func leastPreferred(m *Map, s *Shard) string {
	counts := preferredCounts(m)
	best := ""
	rank := func(id string) (bool, int) { return m.Node(id).State != Active, counts[id] }
	for _, id := range s.Replicas {
		if best == "" {
			best = id
			continue
		}
		idle, n := rank(id)
		bestIdle, bestN := rank(best)
		if bestIdle && !idle || idle == bestIdle && n < bestN {
			best = id
		}
	}
	return best
}

// preferredCounts returns the number of shards that each node is the preferred leader of.
func preferredCounts(m *Map) map[string]int {
	counts := make(map[string]int, len(m.Nodes))
	for i := range m.Shards {
		if p := m.Shards[i].Preferred; p != "" {
			counts[p]++
		}
	}
	return counts
}

// shardPrefer sets the replica that should lead.
func shardPrefer(m *Map, args []string) (*Map, error) {
	s, named, err := shardAt(m, args)
	if err != nil {
		return nil, err
	}
	if s.Preferred == args[2] {
		return m, nil
	}
	if named != s.Version {
		return stale("shard "+args[0], s.Version, named)
	}
	if !s.HasReplica(args[2]) {
		return refuse("shard %d has no replica at %.40q", s.ID, args[2])
	}
	m = m.next()
	s = m.Shard(s.ID)
	s.Preferred, s.Version = args[2], m.Version
	return m, nil
}
