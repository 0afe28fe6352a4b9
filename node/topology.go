package node

import (
	"millrace/placement"
	"millrace/router"
)

// topology returns the cluster map as the router sees it.
func (n *Node) topology() router.Topology { return topology{n.maps.Table(), n} }

// topology shows a routing table to the router, with gossip's word on who is alive.
type topology struct {
	t *placement.Table
	n *Node
}

func (t topology) Version() uint64 { return t.t.Version() }

func (t topology) ShardOf(slot uint16) (uint32, bool) {
	s := t.t.Shard(slot)
	if s == nil {
		return 0, false
	}
	return s.ID, true
}

func (t topology) Shards() []router.ShardInfo {
	shards := t.t.Shards()
	out := make([]router.ShardInfo, len(shards))
	for i := range shards {
		out[i] = t.info(&shards[i])
	}
	return out
}

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

func (t topology) Nodes() []router.NodeInfo {
	nodes := t.t.Nodes()
	out := make([]router.NodeInfo, 0, len(nodes))
	for _, n := range nodes {
		host, port, err := placement.SplitAddr(n.ClientAddr)
		if err != nil {
			continue // the map has checked it
		}
		_, peerPort, _ := placement.SplitAddr(n.PeerAddr)
		out = append(out, router.NodeInfo{ID: n.ID, Host: host, Port: port, PeerPort: peerPort, Alive: t.n.alive(n.ID)})
	}
	return out
}

// routerLeaders shows the hints to the router.
type routerLeaders struct{ *placement.Leaders }

func (l routerLeaders) Learn(shard uint32, node string, term uint64) {
	l.Leaders.Learn(shard, node, term)
}

func (l routerLeaders) Watch(shard uint32) <-chan struct{} {
	_, _, changed := l.Leaders.Watch(shard)
	return changed
}

// alive reports whether gossip reaches a node: a hint.
func (n *Node) alive(id string) bool {
	if id == n.id {
		return true
	}
	m, ok := n.gossip.Lookup(id)
	return ok && m.Alive
}

// resolve names the address to dial for a node: gossip's, which is newer after a
// restart under another address, else the map's.
func (n *Node) resolve(id string) (string, bool) {
	if n.gossip != nil {
		if m, ok := n.gossip.Lookup(id); ok && m.Alive {
			return m.PeerAddr(), true
		}
	}
	if node := n.maps.Table().Node(id); node != nil {
		return node.PeerAddr, true
	}
	return "", false
}

// hostsOf returns nodes that may know who leads a shard, likeliest first.
func (n *Node) hostsOf(shard uint32) []string {
	self := n.id
	var hosts []string
	if n.replicas.get(shard) != nil {
		hosts = append(hosts, self)
	}
	for _, id := range n.maps.Table().Replicas(shard) {
		if id != self {
			hosts = append(hosts, id)
		}
	}
	if len(hosts) > 1 || shard != placement.MetaShard {
		return hosts
	}
	// Not in the map yet: whoever says it is in the cluster keeps the meta group.
	for _, m := range n.gossip.Members() {
		if m.ID != self && m.Meta.InCluster {
			hosts = append(hosts, m.ID)
		}
	}
	return hosts
}
