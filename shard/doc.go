// Package shard runs one replica of one Raft group: it proposes, applies, reads,
// waits, snapshots and supervises.
//
// A [Shard] takes calls from the router and from other nodes ([call.Call]) and
// answers each exactly once. What it promises:
//
//   - A Write that was answered is in the Raft log of a majority, on disk. One that
//     was refused with a not-done error never has an effect, on any replica. One that
//     may have had an effect is answered call.ErrInDoubt, never anything weaker.
//   - A Read, and the first look of a Block or Wait, sees every write that was
//     answered before it was submitted, anywhere.
//   - Calls are accepted only by the replica that leads in exactly the term they
//     name. A record carries that term too, and every replica skips one that Raft
//     stored under another: of two writes sent in order under one term, the second is
//     never done after the first was refused for want of leadership.
//   - The state after a crash is what some prefix of the log makes, and the log
//     starts at or before the end of that prefix.
//
// The parts, each in its file: the proposer turns waiting writes into records; the
// applier is Raft's state machine; reads obtain a read index for all that wait; waits
// keeps blocked calls in order; due proposes what only time brings about; snapshots are
// markers plus files made when they are sent; the supervisor owns the *raft.Raft, of
// which it can replace one while everything else lives on. A Shard only ties them
// together.
//
// It never looks at what a command means: that is the [Machine]'s.
package shard
