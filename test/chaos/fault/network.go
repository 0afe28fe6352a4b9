package fault

import (
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/test/chaos/netlab"
)

// Ports of the servers in a lab.
const (
	ClientPort = 6379
	PeerPort   = 7947
	GossipPort = 7946
	HTTPPort   = 9646
)

// host returns the lab's host of a node.
func host(node int) int { return node + 1 }

// cut is a link that drops every packet.
var cut = netlab.Link{Cut: true}

// Bounds of the time for which partitions hold.
const (
	shortest = 500 * time.Millisecond
	longest  = 6 * time.Second
)

// partition returns a fault that cuts links between nodes in the way of shapeCut. That
// returns a description and the nodes that are left without a majority.
func partition(shape string, shapeCut func(w *World, rng *rand.Rand) (what string, nodes []int)) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		what, nodes := shapeCut(w, rng)
		w.Count("partitions", 1)
		w.Count("partition: "+shape, 1)
		return &injury{what: what, nodes: nodes, hold: between(rng, shortest, longest), heal: func() error { w.Lab.Heal(); return nil }}, nil
	}
}

// halves splits the nodes into two sides. The smaller one has no majority.
func halves(w *World, rng *rand.Rand) (string, []int) {
	order := rng.Perm(w.nodes())
	few := order[:1+rng.IntN((w.nodes()-1)/2)]
	for _, a := range few {
		for _, b := range order[len(few):] {
			w.Lab.SetBoth(host(a), host(b), cut)
		}
	}
	return "halves: " + names(few) + " against the rest", few
}

// alone cuts a leader off from all other nodes; clients still reach it.
func alone(w *World, rng *rand.Rand) (string, []int) {
	n := w.leader(rng)
	for i := range w.nodes() {
		if i != n {
			w.Lab.SetBoth(host(n), host(i), cut)
		}
	}
	return "alone: " + names([]int{n}), []int{n}
}

// bridge splits all nodes but one into two sides that cannot reach each other. The
// remaining node reaches both.
func bridge(w *World, rng *rand.Rand) (string, []int) {
	order := rng.Perm(w.nodes())
	rest := order[1:]
	left := rest[:len(rest)/2]
	for _, a := range left {
		for _, b := range rest[len(left):] {
			w.Lab.SetBoth(host(a), host(b), cut)
		}
	}
	return "bridge: only " + names(order[:1]) + " reaches " + names(left) + " and " + names(rest[len(left):]), nil
}

// oneWay cuts the links of a leader in one direction: it can send and not hear, or hear
// and not send.
func oneWay(w *World, rng *rand.Rand) (string, []int) {
	n, deaf := w.leader(rng), rng.IntN(2) == 0
	for i := range w.nodes() {
		if i == n {
			continue
		}
		if deaf {
			w.Lab.Set(host(i), host(n), cut)
		} else {
			w.Lab.Set(host(n), host(i), cut)
		}
	}
	if deaf {
		return "one way: " + names([]int{n}) + " hears no node", []int{n}
	}
	return "one way: no node hears " + names([]int{n}), []int{n}
}

// ring puts the nodes in a circle and leaves each one only the links to its two neighbours.
func ring(w *World, rng *rand.Rand) (string, []int) {
	order := rng.Perm(w.nodes())
	for i := range order {
		for j := i + 1; j < len(order); j++ {
			if d := j - i; d != 1 && d != len(order)-1 {
				w.Lab.SetBoth(host(order[i]), host(order[j]), cut)
			}
		}
	}
	return "ring: " + names(order), nil
}

// oneLink cuts the link between two nodes.
func oneLink(w *World, rng *rand.Rand) (string, []int) {
	pair := w.some(rng, 2)
	w.Lab.SetBoth(host(pair[0]), host(pair[1]), cut)
	return "link: " + names(pair[:1]) + " and " + names(pair[1:]), nil
}

// clientCut cuts clients off from a leader, which the other nodes still reach.
func clientCut(w *World, rng *rand.Rand) (*injury, error) {
	n := w.leader(rng)
	w.Disturbed.begin(n)
	w.Lab.SetBoth(netlab.Client, host(n), cut)
	w.Count("partitions", 1)
	w.Count("partition: clients from leader", 1)
	return &injury{what: "clients cut off from " + names([]int{n}), hold: between(rng, shortest, longest), heal: func() error {
		w.Lab.Heal()
		w.Disturbed.end(n)
		return nil
	}}, nil
}

// vanished cuts a leader off from nodes and clients alike. Its connections stay half open,
// because neither end gets a reset.
func vanished(w *World, rng *rand.Rand) (*injury, error) {
	n := w.leader(rng)
	w.Disturbed.begin(n)
	for h := range w.nodes() + 1 {
		if h != host(n) {
			w.Lab.SetBoth(h, host(n), cut)
		}
	}
	w.Count("half-open", 1)
	return &injury{what: "vanished: " + names([]int{n}), nodes: []int{n}, hold: between(rng, time.Second, 2*longest), heal: func() error {
		w.Lab.Heal()
		w.Disturbed.end(n)
		return nil
	}}, nil
}

// bad returns a fault that makes all links the given one, those of clients included.
func bad(counter, what string, link netlab.Link) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		all := w.some(rng, w.nodes())
		w.Disturbed.begin(all...)
		for a := range w.nodes() + 1 {
			for b := range a {
				w.Lab.SetBoth(a, b, link)
			}
		}
		w.Count(counter, 1)
		return &injury{what: what + " everywhere", hold: between(rng, 2*time.Second, 2*longest), heal: func() error {
			w.Lab.Heal()
			w.Disturbed.end(all...)
			return nil
		}}, nil
	}
}

// slow makes the links of one node slow.
func slow(w *World, rng *rand.Rand) (*injury, error) {
	n := rng.IntN(w.nodes())
	w.Disturbed.begin(n)
	for h := range w.nodes() + 1 {
		if h != host(n) {
			w.Lab.SetBoth(h, host(n), netlab.Link{Rate: 1_000_000 / 8, Delay: 5 * time.Millisecond})
		}
	}
	w.Count("slow links", 1)
	return &injury{what: "1 Mbit/s to and from " + names([]int{n}), hold: between(rng, 2*time.Second, 2*longest), heal: func() error {
		w.Lab.Heal()
		w.Disturbed.end(n)
		return nil
	}}, nil
}

// gossipCut splits the nodes into two sides for gossip only. Raft's packets pass.
func gossipCut(w *World, rng *rand.Rand) (*injury, error) {
	order := rng.Perm(w.nodes())
	few := order[:w.nodes()/2]
	for _, a := range few {
		for _, b := range order[len(few):] {
			w.Lab.SetBoth(host(a), host(b), netlab.Link{CutPort: GossipPort})
		}
	}
	w.Count("gossip splits", 1)
	return &injury{what: "gossip split: " + names(few) + " against the rest", hold: between(rng, 4*time.Second, 3*longest), heal: func() error {
		w.Lab.Heal()
		return nil
	}}, nil
}

// swizzle cuts links one by one and heals them one by one in another order.
func swizzle(w *World, rng *rand.Rand) (*injury, error) {
	type pair struct{ a, b int }
	var pairs []pair
	for a := range w.nodes() {
		for b := range a {
			pairs = append(pairs, pair{a, b})
		}
	}
	rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	pairs = pairs[:1+rng.IntN(len(pairs))]
	step := time.Duration(100+rng.IntN(300)) * time.Millisecond
	for _, p := range pairs {
		w.Lab.SetBoth(host(p.a), host(p.b), cut)
		time.Sleep(step)
	}
	rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	w.Count("swizzles", 1)
	return &injury{what: fmt.Sprintf("swizzle %d links", len(pairs)), heal: func() error {
		for _, p := range pairs {
			w.Lab.SetBoth(host(p.a), host(p.b), netlab.Link{})
			time.Sleep(step)
		}
		w.Lab.Heal()
		return nil
	}}, nil
}
