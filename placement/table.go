package placement

import (
	"sync/atomic"
)

// Table is a map made ready for look-ups. It is immutable, and so is all it returns.
type Table struct {
	m     *Map
	slots [Slots]uint16 // shard ID by slot; 0 before the shards are created
	nodes map[string]*Node
	meta  []string // nodes that keep the meta group
}

// NewTable returns the table of m, or an empty one for nil: no nodes, no shards.
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

// Shard returns the shard that owns slot, or nil: none before the shards are created,
// none above the greatest slot.
func (t *Table) Shard(slot uint16) *Shard {
	if slot >= Slots || t.slots[slot] == 0 {
		return nil
	}
	return &t.m.Shards[t.slots[slot]-1]
}

// ShardByID returns the data shard with the ID, or nil.
func (t *Table) ShardByID(id uint32) *Shard { return t.m.Shard(id) }

// Replicas returns the nodes to ask for the shard's leader when no hint says who it
// is, and those that CLUSTER SLOTS shows: where replicas belong, the founders while it
// has not been founded. The meta group is everywhere.
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

// Node returns the node with the ID, or nil.
func (t *Table) Node(id string) *Node { return t.nodes[id] }

// Nodes returns all nodes that have not been removed, in the order they joined.
func (t *Table) Nodes() []*Node {
	nodes := make([]*Node, len(t.meta))
	for i, id := range t.meta {
		nodes[i] = t.nodes[id]
	}
	return nodes
}

// Shards returns the data shards by ID. The slice is the table's own.
func (t *Table) Shards() []Shard { return t.m.Shards }

// Version returns the version of the map; 0 for the empty table. CLUSTER INFO and
// CLUSTER NODES show it as the configuration epoch.
func (t *Table) Version() uint64 { return t.m.Version }

// ClusterID returns the cluster's ID; empty for the empty table.
func (t *Table) ClusterID() string { return t.m.ClusterID }

// Map returns the map the table was made of, to be read only. It is never nil.
func (t *Table) Map() *Map { return t.m }

// Holder holds the newest table. Any goroutine may read and replace it. The zero
// Holder is not ready: use NewHolder.
type Holder struct{ p atomic.Pointer[Table] }

// NewHolder returns a holder of the empty table.
func NewHolder() *Holder {
	h := new(Holder)
	h.p.Store(NewTable(nil))
	return h
}

// Table returns the newest table, never nil.
func (h *Holder) Table() *Table { return h.p.Load() }

// Publish makes the table of m the newest, unless a newer one of the same cluster is
// there. It fits Machine.OnChange; a node without the meta group's state may also feed
// it maps that it was sent.
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
