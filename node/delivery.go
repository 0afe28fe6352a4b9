package node

import (
	"context"

	"millrace/call"
	"millrace/node/peer"
)

// delivery brings calls and probes to a node's replicas. It is the one place that decides
// whether a request is handled by a replica of this node or sent over node/peer. A sender
// only names the node; for example, on node a:
//
//	Submit("a", c)   the replica of shard c.Shard on this node takes c
//	Submit("b", c)   c travels to b, and b's replica takes it
//
// Clients' commands (router), the node's own calls to leaders (leaderCaller), and the
// questions that shards ask about other replicas all pass through here. Requests that come
// in from other nodes go to peerHandler, and never travel any further.
type delivery struct {
	self  string
	local *replicas
	peers *peer.Peers
}

// Submit implements router.Backend.
func (d *delivery) Submit(node string, c *call.Call) {
	if d.isLocal(node) {
		d.local.Submit(c)
		return
	}
	d.peers.Submit(node, c)
}

// Cancel implements router.Backend.
func (d *delivery) Cancel(node string, c *call.Call) {
	if d.isLocal(node) {
		d.local.Cancel(c)
		return
	}
	d.peers.Cancel(node, c)
}

// Probe implements shard.Prober: it asks a node how far its replica of a shard is.
func (d *delivery) Probe(ctx context.Context, node string, shard uint32) (call.Probe, error) {
	if d.isLocal(node) {
		return d.local.Probe(shard), nil
	}
	return d.peers.Probe(ctx, node, shard)
}

// isLocal reports whether node is this node.
func (d *delivery) isLocal(node string) bool { return node == d.self }

// peerHandler answers the requests of other nodes with this node's replicas.
type peerHandler struct {
	*replicas
	n *Node
}

// Hello implements peer.Handler.
func (h peerHandler) Hello() peer.HelloInfo {
	return peer.HelloInfo{
		NodeID: h.n.id, ClusterID: h.n.clusterID(), Version: Version,
		Expect: uint32(h.n.cfg.BootstrapExpect), Lowest: h.n.lowest.Load().(string),
	}
}
