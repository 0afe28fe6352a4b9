package fault

import (
	"fmt"
	"slices"
	"time"

	"millrace/resp"
)

const (
	digestEvery = 3 * time.Second
	// digestsKept bounds the digests that are kept of a shard. The oldest one goes first.
	digestsKept = 512
	// levelWithin bounds the time in which the replicas of a cluster without load come to
	// the same index.
	levelWithin = 30 * time.Second
)

// digests are the state hashes of a shard by applied index, each from the first replica
// that reported one.
type digests struct {
	byIndex map[int64]digest
	order   []int64 // indexes in the order of their arrival
}

type digest struct {
	hash string
	node int
}

// take compares a replica's digest with the one that is kept for the same index, or keeps
// it if there is none. It reports whether two different replicas were compared.
func (d *digests) take(w *World, shard, index int64, hash string, node int) bool {
	if old, ok := d.byIndex[index]; ok {
		if old.hash != hash {
			w.Problems.Add("S4", "shard %d at index %d: the state of node %d has the hash %.16s…, that of node %d %.16s…",
				shard, index, node+1, hash, old.node+1, old.hash)
		}
		return old.node != node
	}
	d.byIndex[index] = digest{hash, node}
	if d.order = append(d.order, index); len(d.order) > digestsKept {
		delete(d.byIndex, d.order[0])
		d.order = d.order[1:]
	}
	return false
}

// WatchDigests compares the state hashes of all replicas at equal applied indexes, every
// digestEvery until stop is closed. Replicas report a hash at certain indexes, their marks.
func (w *World) WatchDigests(stop <-chan struct{}) {
	seen := map[int64]*digests{}
	tick := time.NewTicker(digestEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for node, n := range w.Cluster.Nodes {
			if !n.Running() {
				continue
			}
			v, err := w.debug(node, "SHARDHASH")
			if err != nil {
				continue // the node is paused or cut off
			}
			for _, s := range v.Elems {
				shard := field(s, "shard").Int
				if seen[shard] == nil {
					seen[shard] = &digests{byIndex: map[int64]digest{}}
				}
				for _, m := range field(s, "marks").Elems {
					if len(m.Elems) == 2 && seen[shard].take(w, shard, m.Elems[0].Int, string(m.Elems[1].Str), node) {
						w.Count("state hashes compared", 1)
					}
				}
			}
		}
	}
}

// CompareNow compares the present state hashes of all replicas in a cluster without load.
// The replicas of a shard must come to the same index and hash within levelWithin.
func (w *World) CompareNow() error {
	for deadline := time.Now().Add(levelWithin); ; time.Sleep(300 * time.Millisecond) {
		states := map[int64][]string{} // by shard: index and hash of each replica
		for node := range w.Cluster.Nodes {
			v, err := w.debug(node, "SHARDHASH", "NOW")
			if err != nil {
				return fmt.Errorf("node %d: state hash: %w", node+1, err)
			}
			for _, s := range v.Elems {
				id := field(s, "shard").Int
				states[id] = append(states[id], fmt.Sprintf("%d %s", field(s, "index").Int, field(s, "hash").Str))
			}
		}
		differ := int64(-1)
		compared := 0
		for id, all := range states {
			if len(slices.Compact(slices.Clone(all))) > 1 {
				differ = id
			}
			compared += len(all) - 1
		}
		if differ < 0 {
			w.Count("state hashes compared at rest", compared)
			return nil
		}
		if time.Now().After(deadline) {
			w.Problems.Add("S4", "shard %d: without load, its replicas are at (index, hash): %q", differ, states[differ])
			return nil
		}
	}
}

// field returns the value that follows a name in a flat map.
func field(m resp.Value, name string) resp.Value {
	for i := 0; i+1 < len(m.Elems); i += 2 {
		if string(m.Elems[i].Str) == name {
			return m.Elems[i+1]
		}
	}
	return resp.Value{}
}
