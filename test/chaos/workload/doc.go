// Package workload holds the clients of a chaos run: writers of several kinds, consumer
// groups, readers, and a few clients whose short histories Porcupine checks. Each client
// tells a check.Book about a call before it sends it, and about the reply.
//
// A [Recorded] keeps every operation of some clients. It is compared with the shards' logs
// when the nodes have stopped.
//
// A run consists of eras. An [Era] has streams of its own. At its end they are read back
// from every replica and deleted, so that neither the servers' disks nor the book grow
// with the length of a run.
package workload
