package shard

import "sync/atomic"

// counters only rise.
type counters struct {
	proposals     atomic.Uint64 // records handed to Raft
	proposedBytes atomic.Uint64
	applied       atomic.Uint64 // log items applied
	calls         atomic.Uint64 // calls applied
	reads         atomic.Uint64
	polls         atomic.Uint64 // rounds of questions to the voters
	overloaded    atomic.Uint64 // calls refused because a queue was full
	restarts      atomic.Uint64 // Raft instances replaced
	snapshots     atomic.Uint64 // markers put
	snapshotLoops atomic.Uint64 // alarms: installs that led to nothing
}
