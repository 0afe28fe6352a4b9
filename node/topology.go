package node

import (
	"millrace/placement"
	"millrace/router"
)

// topology returns the newest cluster map in the form that the router needs.
func (n *Node) topology() router.Topology { return topology{n.maps.Table(), n} }

// topology implements router.Topology with a routing table, and with gossip's hint about
// which nodes are alive.
type topology struct {
	t *placement.Table
	n *Node
}

// Version implements router.Topology.
func (t topology) Version() uint64 { return t.t.Version() }

// ShardOf implements router.Topology.
func (t topology) ShardOf(slot uint16) (uint32, bool) {
	s := t.t.Shard(slot)
	if s == nil {
		return 0, false
	}
	return s.ID, true
}

// Shards implements router.Topology.
func (t topology) Shards() []router.ShardInfo {
	shards := t.t.Shards()
	out := make([]router.ShardInfo, len(shards))
	for i := range shards {
		out[i] = t.info(&shards[i])
	}
	return out
}

// Shard implements router.Topology.
func (t topology) Shard(id uint32) (router.ShardInfo, bool) {
	s := t.t.ShardByID(id)
	if s == nil {
		return router.ShardInfo{}, false
	}
	return t.info(s), true
}

func (t topology) info(s *placement.Shard) router.ShardInfo {
	return router.ShardInfo{
		ID: s.ID, Slots: []router.SlotRange{{First: s.First, Last: s.Last}}, Replicas: t.t.Replicas(s.ID),
	}
}

// Nodes implements router.Topology.
func (t topology) Nodes() []router.NodeInfo {
	nodes := t.t.Nodes()
	out := make([]router.NodeInfo, 0, len(nodes))
	for _, n := range nodes {
		host, port, err := placement.SplitAddr(n.ClientAddr)
		if err != nil {
			continue // cannot happen: the map holds only valid addresses
		}
		_, peerPort, _ := placement.SplitAddr(n.PeerAddr)
		out = append(out, router.NodeInfo{ID: n.ID, Host: host, Port: port, PeerPort: peerPort, Alive: t.n.alive(n.ID)})
	}
	return out
}

// routerLeaders implements router.Leaders with placement.Leaders.
type routerLeaders struct{ *placement.Leaders }

// Learn implements router.Leaders.
func (l routerLeaders) Learn(shard uint32, node string, term uint64) {
	l.Leaders.Learn(shard, node, term)
}

// Watch implements router.Leaders.
func (l routerLeaders) Watch(shard uint32) <-chan struct{} {
	_, _, changed := l.Leaders.Watch(shard)
	return changed
}

// nodesToAsk returns the nodes that may know the leader of a shard, the likeliest first:
// this node if it has a replica, and then the other nodes that the map gives one.
func (n *Node) nodesToAsk(shard uint32) []string {
	var nodes []string
	if n.replicas.get(shard) != nil {
		nodes = append(nodes, n.id)
	}
	for _, id := range n.maps.Table().Replicas(shard) {
		if id != n.id {
			nodes = append(nodes, id)
		}
	}
	if len(nodes) > 1 || shard != placement.MetaShard {
		return nodes
	}
	// This node has no map yet. Every node that is in the cluster has a replica of the meta
	// group, and gossip tells which nodes are.
	for _, m := range n.gossip.Members() {
		if m.ID != n.id && m.Meta.InCluster {
			nodes = append(nodes, m.ID)
		}
	}
	return nodes
}
