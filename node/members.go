package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"millrace/node/gossip"
	"millrace/node/peer"
	"millrace/placement"
)

const (
	// strangerCheck is the time after the start during which it ends the node to meet, at an
	// address it was told to join, a node of another cluster.
	strangerCheck = 15 * time.Second
	// maxStrangersLogged limits the memory for nodes of other clusters that were logged. Any
	// further ones are logged each time they are met.
	maxStrangersLogged = 256
)

// startGossip makes this node known to the others.
func (n *Node) startGossip() error {
	var key []byte
	if len(n.cfg.Secret) > 0 {
		key = peer.DeriveKey(n.cfg.Secret, "gossip")
	}
	g, err := gossip.Start(gossip.Config{
		NodeID: n.id, BindAddr: n.cfg.GossipAddr, Advertise: n.cfg.Advertise, Label: "millrace",
		SecretKey: key, Seeds: n.cfg.Join, PeersFile: filepath.Join(n.cfg.DataDir, "peers.json"),
		Meta: n.gossipMeta(), Logger: n.log, MaxStreams: n.files.gossip,
	})
	if err != nil {
		return fmt.Errorf("gossip-addr: %w", err)
	}
	n.gossip = g
	n.addrs.Gossip = g.LocalAddr()
	return nil
}

// namesOthers reports whether --join names any node but this one.
func (n *Node) namesOthers() bool {
	for _, addr := range n.cfg.Join {
		if !n.isSelf(addr) {
			return true
		}
	}
	return false
}

// isSelf reports whether addr is this node's gossip address: its port, and its host or an
// address of this machine.
func (n *Node) isSelf(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, strconv.Itoa(gossip.DefaultPort)
	}
	own, ownPort, err := net.SplitHostPort(n.addrs.Gossip)
	if err != nil || port != ownPort {
		return false
	}
	if host == own || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(local, func(a net.Addr) bool {
		in, ok := a.(*net.IPNet)
		return ok && in.IP.Equal(ip)
	})
}

// gossipMeta returns the facts about this node that gossip spreads.
func (n *Node) gossipMeta() gossip.Meta {
	id := n.clusterID()
	m := gossip.Meta{InCluster: id != "", Draining: n.leaving()}
	if id != "" {
		m.Cluster, _ = strconv.ParseUint(id[:16], 16, 64) // always hex digits: see placement.ValidID
	}
	for _, p := range []struct {
		addr string
		to   *uint16
	}{{n.addrs.Peer, &m.PeerPort}, {n.addrs.Client, &m.ClientPort}, {n.addrs.HTTP, &m.HTTPPort}} {
		if _, port, err := placement.SplitAddr(p.addr); err == nil {
			*p.to = uint16(port)
		}
	}
	return m
}

// watchMembers passes gossip's hints on until ctx ends. It returns an error when another
// node uses this node's ID, or when this node was told to join another cluster than its own.
func (n *Node) watchMembers(ctx context.Context) error {
	logged := make(map[string]bool) // IDs of nodes of other clusters
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.gossip.Events():
			n.meta.controller.Wake()
			n.meta.notify()
		case err := <-n.gossip.Conflict():
			return err
		case s := <-n.gossip.Strangers():
			if err := n.meet(s, logged); err != nil {
				return err
			}
			if len(logged) < maxStrangersLogged {
				logged[s.ID] = true
			}
		}
	}
}

// meet handles a node of another cluster. If it was found at an address of --join soon
// after the start, meet returns an error: the operator takes both nodes for one cluster,
// and to serve on would split it. Otherwise meet logs the node, once.
func (n *Node) meet(s gossip.Stranger, logged map[string]bool) error {
	if s.Seed && time.Since(n.started) < strangerCheck {
		return fmt.Errorf("%w: join: %s is a node of another cluster than %.8s, to which %s belongs", ErrOtherCluster, s.Addr, n.clusterID(), n.cfg.DataDir)
	}
	if !logged[s.ID] {
		n.log.Warn("a node of another cluster was refused", "id", s.ID, "gossip_addr", s.Addr)
	}
	return nil
}

// alive reports whether gossip reaches a node. This is a hint, except for this node itself.
func (n *Node) alive(id string) bool {
	if id == n.id {
		return true
	}
	m, ok := n.gossip.Lookup(id)
	return ok && m.Alive
}

// resolve returns the address to dial for a node. Gossip's address comes before that of
// the map, because it is newer after the node has restarted under another address.
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
