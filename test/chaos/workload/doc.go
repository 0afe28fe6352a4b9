// Package workload is the clients of a chaos run: writers of several kinds, consumer
// groups, readers, and the few clients whose history Porcupine looks at. Each tells a
// check.Book what it sends before it sends it, and what it was answered.
//
// The operations of some clients are recorded whole, in a [Recorded], which is compared
// with the shards' logs when the nodes have stopped.
//
// Work goes in eras. An [Era] has streams of its own, which are read back from every
// replica and deleted at its end: so neither the servers' disks nor the book grow with
// the length of a run.
package workload
