// Package fault breaks a cluster and mends it again: a [Nemesis] draws faults from a
// deck, which a seed has shuffled, injects one or several at a time, watches which
// shards serve, heals, and waits until the cluster is whole.
//
// The deck holds every kind of fault in fixed numbers, so that a run of some length has
// seen all of them. A kind of fault is one function in process.go, network.go or
// disk.go and one line in deck.go.
package fault
