package node

// Status is one node's view of the whole cluster. /status answers it, and `millrace
// status` prints it.
type Status struct {
	NodeID    string        `json:"node_id"`
	ClusterID string        `json:"cluster_id"` // empty until the node is in a cluster
	Version   string        `json:"version"`
	Healthy   bool          `json:"healthy"`
	Problems  []string      `json:"problems,omitempty"` // the reasons why the cluster is not healthy
	Nodes     []NodeStatus  `json:"nodes"`
	Shards    []ShardStatus `json:"shards"` // the meta group is shard 0
}

// NodeStatus is one node of the map.
type NodeStatus struct {
	ID         string `json:"id"`
	ClientAddr string `json:"client_addr"`
	PeerAddr   string `json:"peer_addr"`
	HTTPAddr   string `json:"http_addr,omitempty"`
	Alive      bool   `json:"alive"` // whether gossip reaches the node: a hint
	Leads      int    `json:"leads"` // number of shards led by the node, without the meta group
}

// ShardStatus is one shard in the view of its leader.
type ShardStatus struct {
	ID        uint32          `json:"id"`
	FirstSlot int             `json:"first_slot"`
	LastSlot  int             `json:"last_slot"`
	Leader    string          `json:"leader"` // node ID; empty if no leader answers
	Preferred string          `json:"preferred,omitempty"`
	Term      uint64          `json:"term"`
	Commit    uint64          `json:"commit"`
	Replicas  []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is one replica of a shard.
type ReplicaStatus struct {
	Node    string `json:"node"`
	Voter   bool   `json:"voter"`
	Reached bool   `json:"reached"` // whether it answered; if not, Applied and Lag are zero
	Applied uint64 `json:"applied"` // applied index
	Lag     uint64 `json:"lag"`     // number of committed records that it has not applied yet
}
