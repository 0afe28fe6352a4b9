// Package shard runs one replica of one Raft group: it proposes, applies, reads, waits,
// snapshots and supervises.
//
// A [Shard] takes calls from the router and from other nodes ([call.Call]) and answers
// each exactly once. It promises:
//
//   - A Write that was answered is in the Raft log of a majority, on disk. A Write that
//     was refused with a not-done error never has an effect, on any replica. A Write that
//     may have had an effect is answered call.ErrInDoubt, never anything weaker.
//   - A Read, and the first look at a Block or Wait, sees every write that was answered
//     before the call was submitted, anywhere.
//   - Only the replica that leads in exactly the term a call names accepts the call. Its
//     record carries that term too, and every replica skips a record that Raft stored
//     under another term. So of two writes sent in order under one term, the second is
//     never done after the first was refused because the term was not led.
//   - The state after a crash is the result of some prefix of the log, and the log that
//     is left starts at or before the end of that prefix.
//
// The parts are built on each other by assemble, and each has its file or files:
//
//	shared.go     configuration, clocks, positions: everything without dependencies
//	propose.go    the proposer turns waiting writes into records
//	read.go       reads wait for a read index, for which poll.go asks the voters
//	wait.go       blocked calls wait in order of arrival (waiter, waitkeys, waitlook, timeout)
//	view.go       views of the state, and the machine's methods that read
//	apply.go      the applier is Raft's state machine
//	hash.go       digests compare the replicas' states
//	snapshot.go   snapshots are markers, plus files that are made when one is sent (export,
//	              snapformat, receive); recover.go brings disk and log into line at a start
//	lead.go       the leadership opens and closes the terms of this replica
//	due.go        the leader proposes the changes that are due by time alone
//	admin.go      membership changes and leadership transfers
//	supervise.go  the supervisor owns the *raft.Raft, and can replace it while everything
//	              else lives on; logstore, transport and retain wrap its surroundings
//
// The package knows no command by name. A command's meaning belongs to the [Machine].
package shard
