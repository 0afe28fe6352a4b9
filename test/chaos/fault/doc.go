// Package fault injects faults into a cluster and heals them. A [Nemesis] works in rounds:
// it draws one or more faults from a shuffled deck, injects them, measures how the shards
// serve, heals the faults, and waits until the cluster is healthy.
//
// The deck holds a fixed number of cards of each kind of fault, so that a run of some
// length injects every kind. A kind of fault is one function, in a file named after its
// subject such as network.go, and one line in deck.go.
package fault
