package placement

import (
	"sync"
	"testing"
)

func TestTable(t *testing.T) {
	m := newCluster(t, 3, 2, "b", "a", "c")
	tab := NewTable(m.Map())
	for slot := range Slots {
		s := tab.Shard(uint16(slot))
		if s == nil || int(s.First) > slot || int(s.Last) < slot {
			t.Fatalf("slot %d: shard %v", slot, s)
		}
		if tab.ShardByID(s.ID) != s {
			t.Fatalf("ShardByID(%d) is another shard", s.ID)
		}
	}
	for _, slot := range []uint16{MetaSlot, 65535} {
		if s := tab.Shard(slot); s != nil {
			t.Errorf("slot %d: shard %d", slot, s.ID)
		}
	}
	for _, shard := range []uint32{MetaShard, 4, 1 << 31} {
		if s := tab.ShardByID(shard); s != nil {
			t.Errorf("ShardByID(%d): %v", shard, s)
		}
	}
	if got := names(tab.Replicas(MetaShard)); got != "b a c" {
		t.Errorf("meta group at %q, want all nodes in the order they joined", got)
	}
	if got := names(tab.Replicas(2)); got != "a c" {
		t.Errorf("shard 2 at %q", got)
	}
	if got := tab.Replicas(9); got != nil {
		t.Errorf("shard 9 at %v", got)
	}
	if n := tab.Node(id("c")); n == nil || n.ClientAddr != "c:6379" || tab.Node(id("z")) != nil {
		t.Errorf("node c: %v; node z: %v", n, tab.Node(id("z")))
	}
}

// TestTableAfterMoves shows that Replicas follows a move, but the founders of a shard stay.
// A removed node is no longer listed, but it can still be looked up.
func TestTableAfterMoves(t *testing.T) {
	m := newCluster(t, 3, 2, "b", "a", "c")
	m.must(t, "SHARD.FOUNDED", "2")
	m.must(t, "SHARD.REPLICAS", "2", "5", id("b"), id("c"))
	m.must(t, "SHARD.FOUNDED", "1")
	m.must(t, "SHARD.REPLICAS", "1", "7", id("b"), id("c"))
	m.must(t, "NODE.STATE", id("a"), "draining")
	tab := NewTable(m.Map())
	if got := names(tab.Replicas(2)); got != "b c" {
		t.Errorf("shard 2 at %q", got)
	}
	s := tab.ShardByID(2)
	if s.ShouldHost(id("a")) || !s.ShouldHost(id("b")) {
		t.Error("ShouldHost is true for a founder without a replica, or false for a replica")
	}
	if !tab.ShardByID(3).ShouldHost(id("c")) {
		t.Error("ShouldHost is false for a founder before the first leader")
	}
	m.must(t, "NODE.STATE", id("a"), "removed")
	tab = NewTable(m.Map())
	if got := names(tab.Replicas(MetaShard)); got != "b c" || len(tab.Nodes()) != 2 || tab.Nodes()[1].ID != id("c") {
		t.Errorf("nodes %q", got)
	}
	if tab.Node(id("a")) == nil {
		t.Error("a removed node is unknown")
	}
	if tab.ClusterID() != clusterID || tab.Version() != m.Map().Version || tab.Map() != m.Map() || len(tab.Shards()) != 3 {
		t.Error("the table is of another map")
	}
}

func TestHolder(t *testing.T) {
	h := NewHolder()
	if tab := h.Table(); tab.Shard(0) != nil || tab.Version() != 0 || tab.Nodes() == nil || len(tab.Nodes()) != 0 || tab.Replicas(MetaShard) == nil {
		t.Errorf("the empty table: %+v", tab.Map())
	}
	m := newCluster(t, 1, 1, "a")
	var maps []*Map
	for range 50 {
		maps = append(maps, m.Map())
		m.must(t, "NODE.JOIN", clusterID, id("a"), "a:1", "a:2", "", "a:"+string(rune('1'+len(maps)%2)))
	}
	// In any order of publishing, the newest table stays, and no reader sees an older one
	// after a newer one.
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range maps {
				h.Publish(maps[(i*7+w*13)%len(maps)])
			}
		})
	}
	wg.Go(func() {
		var last uint64
		for range 1000 {
			v := h.Table().Version()
			if v < last {
				t.Errorf("version %d after %d", v, last)
			}
			last = v
		}
	})
	wg.Wait()
	if got, want := h.Table().Version(), maps[len(maps)-1].Version; got != want {
		t.Errorf("version %d, want %d", got, want)
	}
}
