package shard

import "sync/atomic"

// counters count since the start of the process. They only rise.
type counters struct {
	proposals     atomic.Uint64 // records handed to Raft
	proposedBytes atomic.Uint64
	applied       atomic.Uint64 // log items applied
	calls         atomic.Uint64 // calls applied
	reads         atomic.Uint64
	polls         atomic.Uint64 // polls of the voters for a read index
	overloaded    atomic.Uint64 // calls refused because a queue was full
	restarts      atomic.Uint64 // Raft instances replaced
	snapshots     atomic.Uint64 // markers put
	snapshotLoops atomic.Uint64 // alarms: snapshots installed in a row, with no record after them
}
