package node

// Status is what a node knows of the whole cluster, as /status answers it and
// `millrace status` prints it.
type Status struct {
	NodeID    string        `json:"node_id"`
	ClusterID string        `json:"cluster_id"` // empty: not in a cluster yet
	Version   string        `json:"version"`
	Healthy   bool          `json:"healthy"`
	Problems  []string      `json:"problems,omitempty"` // why it is not healthy
	Nodes     []NodeStatus  `json:"nodes"`
	Shards    []ShardStatus `json:"shards"` // the meta group is shard 0
}

// NodeStatus is one node of the map.
type NodeStatus struct {
	ID         string `json:"id"`
	ClientAddr string `json:"client_addr"`
	PeerAddr   string `json:"peer_addr"`
	HTTPAddr   string `json:"http_addr,omitempty"`
	Alive      bool   `json:"alive"` // by gossip: a hint
	Leads      int    `json:"leads"` // shards, the meta group not counted
}

// ShardStatus is one shard as its leader sees it.
type ShardStatus struct {
	ID        uint32          `json:"id"`
	FirstSlot int             `json:"first_slot"`
	LastSlot  int             `json:"last_slot"`
	Leader    string          `json:"leader"` // node ID; empty when there is none
	Preferred string          `json:"preferred,omitempty"`
	Term      uint64          `json:"term"`
	Commit    uint64          `json:"commit"`
	Replicas  []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is one replica of a shard.
type ReplicaStatus struct {
	Node    string `json:"node"`
	Voter   bool   `json:"voter"`
	Reached bool   `json:"reached"` // whether it answered; else Applied and Lag are zero
	Applied uint64 `json:"applied"`
	Lag     uint64 `json:"lag"` // records it has yet to apply
}
