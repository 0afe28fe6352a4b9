package router

import "millrace/call"

// Backend takes calls to nodes, this one included.
type Backend interface {
	// Submit sends c to a node and returns at once; c.Done is called later, or before
	// Submit returns. Calls to one node arrive in the order of Submit as long as the
	// connection to it lives.
	Submit(node string, c *call.Call)
	// Cancel withdraws a Block or Wait call that was submitted to node.
	Cancel(node string, c *call.Call)
}

// Leaders knows the believed leader of each shard. A belief is a hint: a wrong one costs
// a call that is refused.
type Leaders interface {
	// Get returns the leader of shard and the term in which it leads. node is empty if no
	// leader is known.
	Get(shard uint32) (node string, term uint64)
	// Learn takes a hint. An older term than the known one is ignored.
	Learn(shard uint32, node string, term uint64)
	// Watch returns a channel that is closed when the answer of Get for shard may have
	// changed since the call of Watch.
	Watch(shard uint32) <-chan struct{}
}

// Topology is one version of the cluster map. It does not change.
type Topology interface {
	// Version rises with every change.
	Version() uint64
	// ShardOf returns the shard that owns a slot, and false if none does.
	ShardOf(slot uint16) (uint32, bool)
	// Shards returns all data shards in the order of their slots.
	Shards() []ShardInfo
	// Shard returns the shard with an ID, and false if there is none.
	Shard(id uint32) (ShardInfo, bool)
	// Nodes returns all nodes of the cluster.
	Nodes() []NodeInfo
}

// ShardInfo is one data shard on the map.
type ShardInfo struct {
	ID       uint32
	Slots    []SlotRange
	Replicas []string // node IDs, in the order of the map
}

// SlotRange is a run of slots, both ends included.
type SlotRange struct{ First, Last uint16 }

// NodeInfo is one node on the map.
type NodeInfo struct {
	ID       string
	Host     string // as clients reach it: address or name
	Port     int
	PeerPort int
	Alive    bool // whether gossip reaches it; a hint
}

// InfoField is one line of an INFO section.
type InfoField struct{ Name, Value string }

// Progress is how far the replicas of a shard are at one moment.
type Progress struct {
	// Sure is how many replicas beside the leader have every acknowledged write: the smallest
	// majority of the present voters, less one. With five voters it is 2.
	Sure int
	// Commit is an index of the shard's log at or above that of every write that was
	// acknowledged before the question.
	Commit uint64
	// Others holds, for each replica beside the leader, the index up to which it is known to
	// have the leader's log on disk. It lacks replicas of which nothing is known.
	Others map[string]uint64
}
