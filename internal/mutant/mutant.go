// Package mutant names wrong implementations that the tests must catch. They are bugs that
// systems like this one have had. `make mutants` shows that a test fails with each of them.
//
// The build tags mutant_a to mutant_t select one bug each. Without such a tag all names
// are the constant false, so that the compiler leaves out the wrong branches. test/mutants
// has the table of the tests that catch them.
package mutant

const (
	// AckBeforeCommit (a): a replica that cannot be reached counts as having the record,
	// so that writes are answered before a majority has them.
	AckBeforeCommit = active == 'a'
	// LogNoSync (b): the Raft log is written without waiting for the disk.
	LogNoSync = active == 'b'
	// VerifyLeaderReads (c): reads go by Raft's VerifyLeader, which counts replies to
	// heartbeats that were sent before the read.
	VerifyLeaderReads = active == 'c'
	// HeartbeatFastPath (d): heartbeats are handled beside Raft's main loop.
	HeartbeatFastPath = active == 'd'
	// SnapshotWithoutPending (e): pending entries are left out of snapshots.
	SnapshotWithoutPending = active == 'e'
	// ClockInApply (f): records are applied at the replica's own time.
	ClockInApply = active == 'f'
	// RetryInDoubt (g): the router repeats a write whose outcome is unknown.
	RetryInDoubt = active == 'g'
	// TruncateBeforeSync (h): the log is truncated before the state is durable.
	TruncateBeforeSync = active == 'h'
	// AckOnLeaderOnly (i): XACK takes effect only on the replica that answers the client.
	AckOnLeaderOnly = active == 'i'
	// BlockedForgotten (j): a blocked call is not registered again when its leader goes.
	BlockedForgotten = active == 'j'
	// NonvotersCount (k): a replica without a vote counts towards a majority.
	NonvotersCount = active == 'k'
	// StaleSnapshots (l): a snapshot older than the state is installed.
	StaleSnapshots = active == 'l'
	// LeftoversSeen (m): commands see the pending entries of a deleted consumer until they
	// are removed.
	LeftoversSeen = active == 'm'
	// UndoKeepsCache (n): when an EXEC is undone, its changes stay in memory.
	UndoKeepsCache = active == 'n'
	// AnnounceUnproved (s): the commit index is announced to followers whose log may differ
	// from the leader's.
	AnnounceUnproved = active == 's'
	// ShareHasReplicas (t): a node's share of the keys has those of which it only has a
	// replica.
	ShareHasReplicas = active == 't'
)
