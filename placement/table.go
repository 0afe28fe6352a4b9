package placement

import (
	"sync/atomic"
)

// Table is an index of a map for look-ups. A Table and all it returns are immutable.
type Table struct {
	m     *Map
	slots [Slots]uint16 // shard ID of each slot; 0 before the shards are created
	nodes map[string]*Node
	meta  []string // nodes that keep the meta group: all that are not removed, as they joined
}

// NewTable returns the table of m. The table of a nil map has no nodes and no shards.
func NewTable(m *Map) *Table {
	if m == nil {
		m = &Map{}
	}
	t := &Table{m: m, nodes: make(map[string]*Node, len(m.Nodes))}
	for i := range m.Nodes {
		t.nodes[m.Nodes[i].ID] = &m.Nodes[i]
	}
	t.meta = m.joined(func(n *Node) bool { return n.State != Removed })
	for i := range m.Shards {
		s := &m.Shards[i]
		for slot := int(s.First); slot <= int(s.Last); slot++ {
			t.slots[slot] = uint16(s.ID)
		}
	}
	return t
}

// Shard returns the shard that owns slot. It returns nil before the shards are created,
// and for a slot above the greatest.
func (t *Table) Shard(slot uint16) *Shard {
	if slot >= Slots || t.slots[slot] == 0 {
		return nil
	}
	return &t.m.Shards[t.slots[slot]-1]
}

// ShardByID returns the data shard with the given ID, or nil.
func (t *Table) ShardByID(id uint32) *Shard { return t.m.Shard(id) }

// Replicas returns the nodes that should keep the shard: for a data shard its Replicas,
// or its Founders until it has had a leader; for the meta group all nodes. CLUSTER SLOTS
// shows these nodes, and the router asks them for the leader when it has no hint.
func (t *Table) Replicas(shard uint32) []string {
	if shard == MetaShard {
		return t.meta
	}
	s := t.m.Shard(shard)
	switch {
	case s == nil:
		return nil
	case !s.Founded:
		return s.Founders
	}
	return s.Replicas
}

// Node returns the node with the given ID, or nil.
func (t *Table) Node(id string) *Node { return t.nodes[id] }

// Nodes returns the nodes that have not been removed, in the order they joined.
func (t *Table) Nodes() []*Node {
	nodes := make([]*Node, len(t.meta))
	for i, id := range t.meta {
		nodes[i] = t.nodes[id]
	}
	return nodes
}

// Shards returns the data shards sorted by ID. The slice belongs to the table.
func (t *Table) Shards() []Shard { return t.m.Shards }

// Version returns the version of the map, or 0 for the empty table. CLUSTER INFO and
// CLUSTER NODES show it as the configuration epoch.
func (t *Table) Version() uint64 { return t.m.Version }

// ClusterID returns the ID of the cluster, or "" for the empty table.
func (t *Table) ClusterID() string { return t.m.ClusterID }

// Map returns the map of the table. It is never nil and must not be changed.
func (t *Table) Map() *Map { return t.m }

// Holder holds the newest table. Any goroutine may read or replace it. Use NewHolder: a
// zero Holder has no table yet.
type Holder struct{ p atomic.Pointer[Table] }

// NewHolder returns a holder of the empty table.
func NewHolder() *Holder {
	h := new(Holder)
	h.p.Store(NewTable(nil))
	return h
}

// Table returns the newest table, never nil.
func (h *Holder) Table() *Table { return h.p.Load() }

// Publish makes the table of m the newest, unless the holder already has the same or a
// newer version of the same cluster. It can be passed to Machine.OnChange. A node that
// has no replica of the meta group may also publish maps that another node sent it.
func (h *Holder) Publish(m *Map) {
	t := NewTable(m)
	for {
		old := h.p.Load()
		if old.ClusterID() == t.ClusterID() && old.Version() >= t.Version() {
			return
		}
		if h.p.CompareAndSwap(old, t) {
			return
		}
	}
}
