package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"millrace/node"
)

// Bounds of the steps of a membership change (L3). Other faults of the round end long
// before.
const (
	movedWithin  = 90 * time.Second // until a leaving node's replicas are all on other nodes
	goneWithin   = 60 * time.Second // until a node that has left is off the map
	joinedWithin = 60 * time.Second // until an empty node has joined
	memberPoll   = 100 * time.Millisecond
)

// members lists the nodes with a replica of each shard, the meta group included.
type members map[uint32][]string

// changes returns the number of replicas that came or went from before to after.
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

// holds returns the number of shards with a replica on a node.
func (m members) holds(node string) (n int) {
	for _, nodes := range m {
		if slices.Contains(nodes, node) {
			n++
		}
	}
	return n
}

// survey asks the nodes other than except, one after another, for the status of the
// cluster, until one knows the leader of every shard. It returns false when none does.
func (w *World) survey(except int) (st node.Status, m members, ok bool) {
	for i, n := range w.Cluster.Nodes {
		if i == except || !n.Running() {
			continue
		}
		st, err := w.Cluster.Status(n)
		if err != nil && len(st.Shards) == 0 {
			continue
		}
		// A new node replays the history of the map, which begins without shards.
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

// await waits until done accepts the status by the nodes other than except. goal names the
// awaited state. After the time within, await adds a violation and waits on; after
// hopelessAfter more it returns an error.
func (w *World) await(except int, within time.Duration, goal string, done func(node.Status, members) bool) error {
	began, late := time.Now(), false
	for ; ; time.Sleep(memberPoll) {
		if st, m, ok := w.survey(except); ok && done(st, m) {
			return nil
		}
		if took := time.Since(began); took > within && !late {
			late = true
			w.Problems.Add("L3", "not reached after %v: %s", within, goal)
		} else if took > within+hopelessAfter {
			return fmt.Errorf("not reached after %v: %s", took.Round(time.Second), goal)
		}
	}
}

// forget sends CLUSTER FORGET for a node to the nodes other than except, until one accepts.
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
	return fmt.Errorf("no node accepted CLUSTER FORGET within %v: %w", goneWithin, last)
}

// inMap reports whether a status lists a node.
func inMap(st node.Status, id string) bool {
	return slices.ContainsFunc(st.Nodes, func(n node.NodeStatus) bool { return n.ID == id })
}

// leaver holds a random node for a fault, if possible one with a replica of a shard other
// than the meta group. It also returns the present members.
func (w *World) leaver(rng *rand.Rand) (n int, before members, ok bool) {
	_, before, ok = w.survey(-1)
	if !ok {
		return 0, nil, false
	}
	order := w.some(rng, w.nodes())
	only := slices.DeleteFunc(slices.Clone(order), func(i int) bool {
		return before.holds(w.Cluster.Nodes[i].ID()) < 2 // every node has a replica of the meta group
	})
	n, ok = w.hold(append(only, order...))
	return n, before, ok
}

// noNode is the injury of a fault that was not injected, because other faults hold all
// nodes, or because the cluster has no leaders at the moment.
func noNode(what string) *injury {
	return &injury{what: what + ": no node is free for it", heal: func() error { return nil }}
}

// replace replaces a node that serves:
//
//  1. The cluster forgets it.
//  2. Its replicas move to other nodes.
//  3. It is stopped or killed, and disappears from the map.
//  4. An empty node starts in its place.
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
	if err := w.await(i, movedWithin, name+", was forgotten, and all its replicas have moved", func(_ node.Status, m members) bool {
		delete(m, 0) // a node keeps its replica of the meta group until it stops
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
		w.Problems.Add("L0", "%s, was asked to stop and exited with code %d\n%s", name, code, w.Cluster.LogTail(n, 12))
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

// wiped kills a node and empties its disk. It then follows docs/recovery.md: an empty node
// starts in its place, and the cluster forgets the old one.
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

// rebuild starts an empty node in the place of one that does not run, and forgets the old
// one.
func (w *World) rebuild(i int, old string) error {
	if err := w.startEmpty(i); err != nil {
		return err
	}
	if err := w.forget(old, i); err != nil {
		return err
	}
	return w.gone(i, old)
}

// gone waits until a forgotten node that does not run is off the map. That happens only
// after all its replicas have moved.
func (w *World) gone(i int, old string) error {
	goal := fmt.Sprintf("node %d, which was %.8s, is off the map", i+1, old)
	return w.await(i, movedWithin+goneWithin, goal, func(st node.Status, m members) bool {
		return !inMap(st, old) && m.holds(old) == 0
	})
}

// startEmpty empties the disk of a node that does not run, starts it, and waits until it
// has joined as a new node.
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
		w.Problems.Add("L0", "node %d has the same identity after its directory was emptied: %s", i+1, old)
	}
	return w.await(i, joinedWithin, fmt.Sprintf("node %d, with an empty disk, has joined", i+1), func(st node.Status, m members) bool {
		return inMap(st, n.ID()) && slices.Contains(m[0], n.ID())
	})
}

// rebuilt waits until all shards have leaders, and counts the membership changes since
// before.
func (w *World) rebuilt(what string, before members) (*injury, error) {
	var after members
	if err := w.await(-1, joinedWithin, what+", and all shards have leaders", func(_ node.Status, m members) bool { after = m; return true }); err != nil {
		return nil, err
	}
	changes := before.changes(after)
	w.Count("membership changes", changes)
	return &injury{what: fmt.Sprintf("%s (%d membership changes)", what, changes), heal: func() error { return nil }}, nil
}
