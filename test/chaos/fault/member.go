package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"millrace/node"
)

// Bounds of a change of members (L3). Faults that are combined with it end well before.
const (
	movedWithin  = 90 * time.Second // until other nodes have all replicas of one that leaves
	goneWithin   = 60 * time.Second // until a node that has left is off the map
	joinedWithin = 60 * time.Second // until an empty node has its place
	memberPoll   = 100 * time.Millisecond
)

// members are the nodes that have a replica of each shard, the meta group included.
type members map[uint32][]string

// changes returns how many replicas came and went between two moments.
func (before members) changes(after members) int {
	n := 0
	for id, nodes := range after {
		for _, node := range nodes {
			if !slices.Contains(before[id], node) {
				n++
			}
		}
		for _, node := range before[id] {
			if !slices.Contains(nodes, node) {
				n++
			}
		}
	}
	return n
}

// holds returns how many shards have a replica at a node.
func (m members) holds(node string) (n int) {
	for _, nodes := range m {
		if slices.Contains(nodes, node) {
			n++
		}
	}
	return n
}

// view asks the nodes other than except, one after another, until one knows the leader of
// every shard. It reports false when none does.
func (w *World) view(except int) (st node.Status, m members, ok bool) {
	for i, n := range w.Cluster.Nodes {
		if i == except || !n.Running() {
			continue
		}
		st, err := w.Cluster.Status(n)
		if err != nil && len(st.Shards) == 0 {
			continue
		}
		// A new node goes through all that the map was: at first it had no shards.
		m, all := members{}, len(st.Shards) == w.Shards.Count()+1
		for _, s := range st.Shards {
			all = all && s.Leader != ""
			for _, r := range s.Replicas {
				m[s.ID] = append(m[s.ID], r.Node)
			}
		}
		if all {
			return st, m, true
		}
	}
	return st, nil, false
}

// await waits until what the other nodes see satisfies done. What takes longer than
// within is a violation, and the wait goes on; hopeless is an error.
func (w *World) await(except int, within time.Duration, what string, done func(node.Status, members) bool) error {
	began, late := time.Now(), false
	for ; ; time.Sleep(memberPoll) {
		if st, m, ok := w.view(except); ok && done(st, m) {
			return nil
		}
		if took := time.Since(began); took > within && !late {
			late = true
			w.Problems.Add("L3", "%s: not so after %v", what, within)
		} else if took > within+hopelessAfter {
			return fmt.Errorf("%s: not so after %v", what, took.Round(time.Second))
		}
	}
}

// forget has the cluster forget a node by the word of any other than except.
func (w *World) forget(id string, except int) error {
	var last error
	for deadline := time.Now().Add(goneWithin); time.Now().Before(deadline); time.Sleep(memberPoll) {
		for i, n := range w.Cluster.Nodes {
			if i == except || !n.Running() {
				continue
			}
			if _, last = w.command(i, "CLUSTER", "FORGET", id); last == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("CLUSTER FORGET was not taken in %v: %w", goneWithin, last)
}

// inMap reports whether a status lists a node.
func inMap(st node.Status, id string) bool {
	return slices.ContainsFunc(st.Nodes, func(n node.NodeStatus) bool { return n.ID == id })
}

// leaver takes a node for one fault that has replicas of clients' shards, by chance; any,
// if none is known to.
func (w *World) leaver(rng *rand.Rand) (n int, before members, ok bool) {
	_, before, ok = w.view(-1)
	if !ok {
		return 0, nil, false
	}
	order := w.some(rng, w.nodes())
	only := slices.DeleteFunc(slices.Clone(order), func(i int) bool {
		return before.holds(w.Cluster.Nodes[i].ID()) < 2 // every node has the meta group's
	})
	n, ok = w.hold(append(only, order...))
	return n, before, ok
}

// noNode is a fault that had nobody to befall: other faults have all nodes, or the
// cluster has no leaders just now.
func noNode(what string) *injury {
	return &injury{what: what + ": no node can be taken", heal: func() error { return nil }}
}

// replace has a node leave for good while it serves: it is forgotten, its replicas move
// to others, it stops, and an empty one takes its place.
func replace(w *World, rng *rand.Rand) (*injury, error) {
	i, before, ok := w.leaver(rng)
	if !ok {
		return noNode("replace"), nil
	}
	defer w.release(i)
	n, old := w.Cluster.Nodes[i], w.Cluster.Nodes[i].ID()
	name := fmt.Sprintf("node %d, which was %.8s", i+1, old)
	began := time.Now()
	if err := w.forget(old, i); err != nil {
		return nil, err
	}
	if err := w.await(i, movedWithin, name+", was forgotten: its replicas are elsewhere", func(_ node.Status, m members) bool {
		delete(m, 0) // a node keeps the map until it stops
		return m.holds(old) == 0
	}); err != nil {
		return nil, err
	}
	moved := time.Since(began)
	w.Disturbed.begin(i)
	defer w.Disturbed.end(i)
	if rng.IntN(2) == 0 {
		w.Cluster.Kill(n)
		w.Count("kills", 1)
	} else if code := w.Cluster.Terminate(n); code != 0 {
		w.Problems.Add("L0", "%s, was asked to stop and ended with %d\n%s", name, code, w.Cluster.LogTail(n, 12))
	}
	if err := w.gone(i, old); err != nil {
		return nil, err
	}
	if err := w.startEmpty(i); err != nil {
		return nil, err
	}
	w.Count("nodes replaced", 1)
	return w.rebuilt(fmt.Sprintf("replace node %d, whose replicas moved in %v", i+1, moved.Round(time.Millisecond)), before)
}

// wiped kills a node and takes its disk from it. It goes by docs/recovery.md: an empty
// node starts in its place, and the old one is forgotten.
func wiped(w *World, rng *rand.Rand) (*injury, error) {
	i, before, ok := w.leaver(rng)
	if !ok {
		return noNode("wiped"), nil
	}
	defer w.release(i)
	old := w.Cluster.Nodes[i].ID()
	w.Disturbed.begin(i)
	defer w.Disturbed.end(i)
	w.Cluster.Kill(w.Cluster.Nodes[i])
	w.Count("kills", 1)
	time.Sleep(between(rng, 100*time.Millisecond, 3*time.Second))
	if err := w.rebuild(i, old); err != nil {
		return nil, err
	}
	w.Count("nodes wiped", 1)
	return w.rebuilt(fmt.Sprintf("wipe node %d", i+1), before)
}

// rebuild puts an empty node in the place of one that does not run, and has the cluster
// forget that.
func (w *World) rebuild(i int, old string) error {
	if err := w.startEmpty(i); err != nil {
		return err
	}
	if err := w.forget(old, i); err != nil {
		return err
	}
	return w.gone(i, old)
}

// gone waits until a node that was forgotten and does not run is off the map, which it is
// not before all its replicas have moved.
func (w *World) gone(i int, old string) error {
	what := fmt.Sprintf("node %d, which was %.8s, is gone: it is off the map", i+1, old)
	return w.await(i, movedWithin+goneWithin, what, func(st node.Status, m members) bool {
		return !inMap(st, old) && m.holds(old) == 0
	})
}

// startEmpty empties the disk of a node that does not run, starts it, and waits until the
// others have it as a new node.
func (w *World) startEmpty(i int) error {
	n := w.Cluster.Nodes[i]
	old := n.ID()
	if err := w.Cluster.Empty(n); err != nil {
		return err
	}
	if err := w.Cluster.Launch(n); err != nil {
		return err
	}
	if n.ID() == old {
		w.Problems.Add("L0", "node %d: its empty directory has the identity of the old one, %s", i+1, old)
	}
	return w.await(i, joinedWithin, fmt.Sprintf("node %d, with an empty disk, has joined", i+1), func(st node.Status, m members) bool {
		return inMap(st, n.ID()) && slices.Contains(m[0], n.ID())
	})
}

// rebuilt counts what has changed since before.
func (w *World) rebuilt(what string, before members) (*injury, error) {
	var after members
	if err := w.await(-1, joinedWithin, what+": all shards are led", func(_ node.Status, m members) bool { after = m; return true }); err != nil {
		return nil, err
	}
	changes := before.changes(after)
	w.Count("membership changes", changes)
	return &injury{what: fmt.Sprintf("%s (%d membership changes)", what, changes), heal: func() error { return nil }}, nil
}
