package fault

import (
	"math/rand/v2"
	"slices"
	"time"

	"millrace/test/chaos/netlab"
)

// inject injects a fault with random details. The result tells how to heal it.
type inject func(w *World, rng *rand.Rand) (*injury, error)

// injury is a fault that was injected and is not yet healed.
type injury struct {
	what  string        // a description for the report
	nodes []int         // the nodes whose shards must get other leaders
	hold  time.Duration // how long to wait before healing
	heal  func() error
}

// card is a kind of fault.
type card struct {
	name   string
	copies int // number of cards in a deck
	inject inject
	// single marks a fault that takes away a minority of the nodes. If that is one node,
	// and the fault is the only one of its round, the promises of availability are measured.
	single bool
	// network marks a fault that needs a lab. A round has at most one such fault, because
	// healing one heals all links.
	network bool
	// alone marks a fault that is never combined with others.
	alone bool
	// faulty marks a fault that needs servers built with the tag faults.
	faulty bool
	// member marks a fault that takes a node's data away. A round has at most one such
	// fault, because a shard does not survive two empty disks among three replicas.
	member bool
	nodes  int // the smallest number of nodes that it needs
}

// cards are all kinds of faults.
var cards = []card{
	{name: "kill leader", copies: 7, inject: killed(oneLeader), single: true},
	{name: "kill one", copies: 4, inject: killed(anyOne), single: true},
	{name: "kill majority", copies: 3, inject: killed(majority)},
	{name: "kill all", copies: 2, inject: killed(everyone)},
	{name: "power cut", copies: 1, inject: powerCut(oneLeader), single: true, faulty: true},
	{name: "power cut of all", copies: 2, inject: powerCut(everyone), faulty: true},
	{name: "pause leader", copies: 8, inject: paused(oneLeader, 100*time.Millisecond, 6*time.Second), single: true},
	{name: "pause leader long", copies: 1, inject: paused(oneLeader, 5*time.Second, 30*time.Second), single: true},
	{name: "pause follower", copies: 3, inject: paused(oneFollower, 100*time.Millisecond, 6*time.Second), single: true},
	{name: "pause majority", copies: 3, inject: paused(majority, 100*time.Millisecond, 5*time.Second)},
	{name: "pause all", copies: 2, inject: paused(everyone, 100*time.Millisecond, 3*time.Second)},
	{name: "halves", copies: 8, inject: partition("halves", halves), single: true, network: true},
	{name: "alone", copies: 6, inject: partition("one node", alone), single: true, network: true},
	{name: "bridge", copies: 8, inject: partition("bridge", bridge), network: true},
	{name: "one way", copies: 8, inject: partition("one way", oneWay), single: true, network: true},
	{name: "clients from leader", copies: 8, inject: clientCut, network: true},
	{name: "ring", copies: 3, inject: partition("ring", ring), network: true, nodes: 4},
	{name: "link", copies: 1, inject: partition("one link", oneLink), network: true},
	{name: "vanished", copies: 1, inject: vanished, single: true, network: true},
	{name: "delay", copies: 1, inject: bad("delays", "100±50 ms", netlab.Link{Delay: 50 * time.Millisecond, Jitter: 25 * time.Millisecond}), network: true},
	{name: "loss", copies: 1, inject: bad("losses", "20 % loss", netlab.Link{Loss: 0.2}), network: true},
	{name: "slow link", copies: 1, inject: slow, network: true},
	{name: "gossip split", copies: 1, inject: gossipCut, network: true},
	{name: "swizzle", copies: 1, inject: swizzle, network: true},
	{name: "clock jump", copies: 2, inject: clockJump},
	{name: "clock strobe", copies: 1, inject: clockStrobe},
	{name: "transfers", copies: 1, inject: transfers, alone: true},
	{name: "transfer storm", copies: 1, inject: transferStorm},
	{name: "overload", copies: 1, inject: overload},
	{name: "rolling restart", copies: 1, inject: rolling, alone: true},
	{name: "slow disk", copies: 1, inject: disk("slow disk", []string{"delay", "60ms", "ops=sync"}, 3*time.Second, 8*time.Second, false), alone: true, faulty: true},
	{name: "disk stalls", copies: 1, inject: disk("disk stalls", []string{"stall", "ops=sync"}, time.Second, 7*time.Second, false), alone: true, faulty: true},
	{name: "disk hangs", copies: 1, inject: disk("disk hangs", []string{"stall", "ops=sync"}, 25*time.Second, 25*time.Second, true, exitDiskFailing), alone: true, faulty: true},
	{name: "disk error", copies: 1, inject: disk("EIO on sync", []string{"eio", "ops=sync", "times=1"}, 5*time.Second, 5*time.Second, true, exitDiskFailing), alone: true, faulty: true},
	{name: "torn write", copies: 2, inject: disk("torn write", []string{"torn", "files=log", "after=20"}, 8*time.Second, 8*time.Second, true, killedBySignal), alone: true, faulty: true},
	{name: "flipped bit", copies: 1, inject: disk("flipped bit", []string{"flip", "ops=read", "files=sst", "times=1"}, 4*time.Second, 4*time.Second, false, exitCorrupt), alone: true, faulty: true},
	{name: "disk full", copies: 1, inject: diskFull, alone: true},
	{name: "replace", copies: 1, inject: replace, member: true, nodes: 4},
	{name: "wiped", copies: 1, inject: wiped, member: true, nodes: 4},
	{name: "divergent snapshot", copies: 1, inject: divergent, network: true},
	{name: "late snapshot", copies: 2, inject: late, network: true},
	{name: "without one", copies: 1, inject: withoutOne, alone: true},
	{name: "rotten file", copies: 1, inject: rotten, member: true, alone: true, nodes: 4},
}

// deck deals cards in a random order. An empty deck is filled and shuffled anew.
type deck struct {
	rng   *rand.Rand
	all   []*card // a full deck
	cards []*card // the cards not yet dealt
}

// newDeck returns the deck of all kinds of faults that are possible in a world. If only is
// not empty, it holds no other kinds than these.
func newDeck(rng *rand.Rand, w *World, only []string) *deck {
	d := &deck{rng: rng}
	for i := range cards {
		c := &cards[i]
		if c.network && w.Lab == nil || c.faulty && !w.FaultyDisks || c.name == "overload" && w.Overload == nil || c.nodes > w.nodes() || c.name == "disk full" && w.SmallDisk < 0 {
			continue
		}
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		for range c.copies {
			d.all = append(d.all, c)
		}
	}
	return d
}

// deal returns the next card that fits, or nil when none of the remaining cards does.
func (d *deck) deal(fits func(*card) bool) *card {
	if len(d.cards) == 0 {
		d.cards = append(d.cards, d.all...)
		d.rng.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
	}
	for i, c := range d.cards {
		if fits(c) {
			d.cards = append(d.cards[:i], d.cards[i+1:]...)
			return c
		}
	}
	return nil
}
