package shard

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
)

// announceAfter is how long a shard applies no record before its leader announces the
// commit index. Where clients write all the time, the next record carries it for nothing.
const announceAfter = 10 * time.Millisecond

// announcer tells followers the commit index when no record does. Raft sends it along with
// the next record, or after Timing.CommitTimeout. Without an announcement, a stale read on a
// follower would not see the last write for a second or two.
//
//	leader                         follower
//	   │ ── record 9, commit 8 ───► │
//	   │ ◄── stored ─────────────── │  has 9 on disk, and has applied 8
//	 applies 9, then 10 ms of quiet
//	   │ ── no record, commit 9 ──► │  applies 9
//
// An announcement is an AppendEntries without records that names the leader's last applied
// record as the one before it. So a follower takes it only if its log agrees with the
// leader's up to there. It goes to followers that have acknowledged that record, once to
// each, and nothing is sent on an idle shard.
//
// The announcer also knows how far each follower has the log on disk, for WAIT.
type announcer struct {
	*shared

	mu        sync.Mutex
	term      uint64                      // guarded by mu, as all below: the term that the rest belongs to
	at        applied                     // the last record applied here
	followers map[raft.ServerID]*follower // those that have acknowledged a record in the term
	timer     *time.Timer                 // runs announce
	armed     bool                        // timer is running
	seen      uint64                      // at.index when timer was started
	sending   sync.WaitGroup
}

// follower is the leader's knowledge of one follower.
type follower struct {
	stored uint64 // it has the leader's log up to here on disk
	knows  uint64 // the commit index that it was told
	busy   bool   // an announcement is under way to it
}

func newAnnouncer(sh *shared) *announcer {
	a := &announcer{shared: sh, followers: map[raft.ServerID]*follower{}}
	a.timer = time.AfterFunc(time.Hour, a.announce)
	a.timer.Stop()
	return a
}

// applied notes that this replica has applied the log up to at.
func (a *announcer) applied(at applied) {
	term := a.leads()
	if term == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inTerm(term) {
		a.at = at
		a.arm()
	}
}

// stored notes that a follower has answered an AppendEntries of a term: it has the log up
// to index on disk, and knows commit.
func (a *announcer) stored(id raft.ServerID, term, index, commit uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.inTerm(term) {
		return
	}
	f := a.followers[id]
	if f == nil {
		f = new(follower)
		a.followers[id] = f
	}
	f.stored, f.knows = max(f.stored, index), max(f.knows, commit)
	a.arm()
}

// inTerm begins a term if it is newer than the present one, and reports whether term is
// the present one.
func (a *announcer) inTerm(term uint64) bool {
	if term > a.term {
		a.term, a.at = term, applied{}
		clear(a.followers)
	}
	return term == a.term
}

// arm starts the timer if there is something to announce.
func (a *announcer) arm() {
	if a.armed {
		return
	}
	for _, f := range a.followers {
		if a.lacks(f) {
			a.armed, a.seen = true, a.at.index
			a.timer.Reset(announceAfter)
			return
		}
	}
}

// lacks reports whether a follower has the last applied record and does not know that it
// is committed.
func (a *announcer) lacks(f *follower) bool {
	if mutant.AnnounceUnproved {
		return !f.busy && f.knows < a.at.index
	}
	return !f.busy && f.stored >= a.at.index && f.knows < a.at.index
}

// announce sends announcements, unless records are under way. Those carry the commit index
// themselves, and the last of them starts the timer again.
func (a *announcer) announce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	if a.at.index != a.seen {
		a.arm()
		return
	}
	inst := a.current.Load()
	if inst == nil || a.leads() != a.term || a.at.term != a.term || a.inflight.len() > 0 {
		return
	}
	conf := a.configs.last()
	for id, f := range a.followers {
		if a.lacks(f) && conf.has(string(id)) {
			f.busy = true
			at := a.at
			a.sending.Go(func() { a.tell(inst.trans, id, f, at) })
		}
	}
}

// tell sends one announcement. A follower that cannot be reached learns the commit index
// from Raft later.
func (a *announcer) tell(to *endpoint, id raft.ServerID, f *follower, at applied) {
	ok := to.announce(id, a.cfg.NodeID, at)
	a.mu.Lock()
	defer a.mu.Unlock()
	f.busy = false
	if ok {
		f.knows = max(f.knows, at.index)
		a.arm() // for records that were applied meanwhile
	}
}

// end waits for the announcements under way. The instance must not be current any more,
// and its transport must be closed.
func (a *announcer) end() {
	a.mu.Lock()
	a.timer.Stop()
	a.armed = false
	a.mu.Unlock()
	a.sending.Wait()
}

// positions returns how far each follower has the leader's log on disk, for followers that
// have acknowledged a record in term.
func (a *announcer) positions(term uint64) map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[string]uint64)
	if term == a.term {
		for id, f := range a.followers {
			out[string(id)] = f.stored
		}
	}
	return out
}
