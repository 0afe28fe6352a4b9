package shard

import "github.com/hashicorp/raft"

// raftLeader is the part of *raft.Raft that a leader's parts need.
type raftLeader interface {
	raftApply
	raftRead
	raftRole
}

// raftRole is the part of *raft.Raft that says which role it has.
type raftRole interface {
	CurrentTerm() uint64
	State() raft.RaftState
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
}

// leaderParts is the parts that take calls under the leader's term, which are opened and
// closed together. It is the applier's observer, because only calls that wait in these
// parts depend on a record being applied.
type leaderParts struct {
	writes *proposer
	reads  *reads
	waits  *waits
	news   *announcer
}

func newLeaderParts(sh *shared, v *viewer) *leaderParts {
	l := &leaderParts{writes: newProposer(sh), reads: newReads(sh, v), news: newAnnouncer(sh)}
	l.waits = newWaits(sh, v, l.reads, l.writes)
	return l
}

// open starts a term. Writes are opened last, because that proposes the term's first
// record: once it is applied, opened tells the others, and they must know the term by then.
func (l *leaderParts) open(term uint64, r raftLeader) {
	l.waits.open(term)
	l.reads.open(term, r)
	l.writes.open(term, r)
}

// close ends the term and refuses the calls that wait. Calls that were proposed stay in
// flight.
func (l *leaderParts) close(refusal error) {
	l.writes.close(refusal)
	l.reads.close(refusal)
	l.waits.close(refusal)
}

// stop refuses every call from now on.
func (l *leaderParts) stop(refusal error) {
	l.writes.stop(refusal)
	l.reads.stop(refusal)
	l.waits.stop(refusal)
}

// opened implements applyObserver: reads and writes of term go ahead.
func (l *leaderParts) opened(term uint64) {
	l.reads.setReady(term)
	l.writes.setReady(term)
}

// applied implements applyObserver.
func (l *leaderParts) applied(at applied, keys [][]byte, all bool) {
	l.news.applied(at)
	l.writes.wakeUp()
	l.waits.touched(keys, all)
}
