package placement

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/resp"
)

// ErrUnknownCommand is what Apply returns for a command that this build does not know:
// a newer build proposed it, or something is broken. The shard halts.
var ErrUnknownCommand = errors.New("placement: unknown command of the meta group")

// command is a command of the meta group. change returns the map that follows m: m
// itself where nothing changes, which is how a command is idempotent. m is never
// changed, and nil before the founding. An error's text is the reply: it starts with
// "ERR", or with "STALE" where the sender saw an older map and should look again.
type command struct {
	name   string
	usage  string
	arity  int // words, name included; negative: at least as many
	change func(m *Map, args []string) (*Map, error)
}

// lookup returns the command that argv names. The whole table is here; MAP is the one
// read.
func lookup(argv [][]byte) (*command, error) {
	name := ""
	if len(argv) > 0 {
		name = strings.ToUpper(string(argv[0]))
	}
	switch name {
	case "MAP":
		return &command{name, "MAP", 1, nil}, nil
	case "FOUND":
		return &command{name, "FOUND cluster shards replicas expect node peer client gossip http", 10, found}, nil
	case "NODE.JOIN":
		return &command{name, "NODE.JOIN cluster node peer client gossip http", 7, founded(nodeJoin)}, nil
	case "NODE.STATE":
		return &command{name, "NODE.STATE node active|draining|removed", 3, founded(nodeState)}, nil
	case "SHARDS.CREATE":
		return &command{name, "SHARDS.CREATE map-version", 2, founded(shardsCreate)}, nil
	case "SHARD.FOUNDED":
		return &command{name, "SHARD.FOUNDED shard", 2, founded(shardFounded)}, nil
	case "SHARD.REPLICAS":
		return &command{name, "SHARD.REPLICAS shard shard-version node [node ...]", -4, founded(shardReplicas)}, nil
	case "SHARD.PREFER":
		return &command{name, "SHARD.PREFER shard shard-version node", 4, founded(shardPrefer)}, nil
	}
	return nil, fmt.Errorf("%w: %.40q", ErrUnknownCommand, name)
}

// badArity returns the refusal of argv if it has too few or too many words.
func (c *command) badArity(argv [][]byte) (resp.Value, bool) {
	if c.arity >= 0 && len(argv) == c.arity || c.arity < 0 && len(argv) >= -c.arity {
		return resp.Value{}, false
	}
	return resp.Err("ERR wrong number of words: " + c.usage), true
}

func founded(change func(*Map, []string) (*Map, error)) func(*Map, []string) (*Map, error) {
	return func(m *Map, args []string) (*Map, error) {
		if m == nil {
			return nil, errors.New("ERR the cluster has not been founded")
		}
		return change(m, args)
	}
}

// next returns a clone of m, one version on.
func (m *Map) next() *Map {
	c := m.Clone()
	c.Version++
	return c
}

func refuse(format string, args ...any) (*Map, error) {
	return nil, fmt.Errorf("ERR "+format, args...)
}

func stale(what string, is, said uint64) (*Map, error) {
	return nil, fmt.Errorf("STALE %s is at version %d, not %d", what, is, said)
}

// found makes the map: the cluster's ID, its settings and its first node. Said again
// for the same cluster, it changes nothing.
func found(m *Map, args []string) (*Map, error) {
	if m != nil {
		if m.ClusterID == args[0] {
			return m, nil
		}
		return refuse("this is cluster %s already, not %.40q", m.ClusterID, args[0])
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

// nodeOf makes an active node of: id, peer, client, gossip and HTTP address.
func nodeOf(args []string) Node {
	return Node{ID: args[0], PeerAddr: args[1], ClientAddr: args[2], GossipAddr: args[3], HTTPAddr: args[4], State: Active}
}

// nodeJoin adds a node, or takes the new addresses of one that is there.
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
				return refuse("the cluster has %d nodes, the most there may be", MaxNodes)
			}
		}
		for i := range m.Nodes {
			node.Joined = max(node.Joined, m.Nodes[i].Joined)
		}
		node.Joined++
	case old.State == Removed:
		return refuse("node %s has been removed from the cluster; a new data directory makes a new node", node.ID)
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

// nodeState sets a node's state. A node is removed once it is wanted nowhere, and for
// good. Who asks for that must see first that it votes in no shard any more, the meta
// group included: a removed node may be switched off, and the map cannot know of votes.
func nodeState(m *Map, args []string) (*Map, error) {
	node := m.Node(args[0])
	if node == nil {
		return refuse("no node %.40q", args[0])
	}
	state, ok := parseNodeState(args[1])
	if !ok {
		return refuse("%.40q is no state of a node: active, draining or removed", args[1])
	}
	switch {
	case state == node.State:
		return m, nil
	case node.State == Removed:
		return refuse("node %s has been removed", node.ID)
	case node.State == Active && len(m.Active()) == 1:
		return refuse("node %s is the only active one", node.ID)
	case state == Removed:
		for i := range m.Shards {
			if m.Shards[i].ShouldHost(node.ID) {
				return refuse("node %s is to keep a replica of shard %d; drain it first", node.ID, m.Shards[i].ID)
			}
		}
	}
	m = m.next()
	m.Node(args[0]).State = state
	return m, nil
}

// shardsCreate lays the slots over the shards, and the shards over the nodes that are
// active: neighbours in the order of joining, each shard starting one node further on.
// The first is preferred as leader, so leaders are spread as evenly as replicas.
//
// It is refused while fewer nodes than expected are there. That is what makes a second
// founding harmless, should the nodes ever be split into two at their first start: a
// node joins one cluster only, so at most one of the two gets its shards.
func shardsCreate(m *Map, args []string) (*Map, error) {
	said, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return refuse("%.40q is not a version", args[0])
	}
	if len(m.Shards) > 0 {
		return m, nil
	}
	if said != m.Version {
		return stale("the map", m.Version, said)
	}
	nodes := m.Active()
	if len(nodes) < m.Settings.Expect {
		return refuse("%d active nodes, where %d are expected", len(nodes), m.Settings.Expect)
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

// shardArg returns the shard that a command names.
func shardArg(m *Map, word string) (*Shard, error) {
	id, err := strconv.ParseUint(word, 10, 32)
	if err != nil || m.Shard(uint32(id)) == nil {
		return nil, fmt.Errorf("ERR no shard %.40q", word)
	}
	return m.Shard(uint32(id)), nil
}

// shardFounded notes that a shard has had a leader.
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

// shardAt returns the shard that a command names, and whether the command names the
// version that it is at.
func shardAt(m *Map, args []string) (s *Shard, said uint64, err error) {
	s, err = shardArg(m, args[0])
	if err != nil {
		return nil, 0, err
	}
	said, err = strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("ERR %.40q is not a version", args[1])
	}
	return s, said, nil
}

// shardReplicas sets where a shard's replicas belong. New ones must be active nodes.
func shardReplicas(m *Map, args []string) (*Map, error) {
	s, said, err := shardAt(m, args)
	if err != nil {
		return nil, err
	}
	ids := args[2:]
	if slices.Equal(ids, s.Replicas) {
		return m, nil
	}
	if said != s.Version {
		return stale("shard "+args[0], s.Version, said)
	}
	if len(ids) > MaxReplicas {
		return refuse("%d replicas, where at most %d may be", len(ids), MaxReplicas)
	}
	for i, id := range ids {
		n := m.Node(id)
		switch {
		case n == nil:
			return refuse("no node %.40q", id)
		case slices.Contains(ids[:i], id):
			return refuse("node %s twice", id)
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

// leastPreferred returns the replica of s that the fewest shards would have lead, the
// first of equals. Active nodes come before others.
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

// preferredCounts says how many shards would have each node lead.
func preferredCounts(m *Map) map[string]int {
	counts := make(map[string]int, len(m.Nodes))
	for i := range m.Shards {
		if p := m.Shards[i].Preferred; p != "" {
			counts[p]++
		}
	}
	return counts
}

// shardPrefer sets which replica should lead.
func shardPrefer(m *Map, args []string) (*Map, error) {
	s, said, err := shardAt(m, args)
	if err != nil {
		return nil, err
	}
	if s.Preferred == args[2] {
		return m, nil
	}
	if said != s.Version {
		return stale("shard "+args[0], s.Version, said)
	}
	if !s.HasReplica(args[2]) {
		return refuse("shard %d has no replica at %.40q", s.ID, args[2])
	}
	m = m.next()
	s = m.Shard(s.ID)
	s.Preferred, s.Version = args[2], m.Version
	return m, nil
}
