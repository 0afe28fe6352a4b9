package shard

import (
	"errors"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"millrace/shard/call"
)

// errEmptyCall refuses a call that holds no command, or more than its kind may.
var errEmptyCall = errors.New("shard: the call has no command to run")

// role is what an instance of Raft is at one moment: who leads, in which term.
type role struct {
	leader string // node ID; empty when unknown
	term   uint64 // Raft's current term
	leads  bool   // this node is that leader
}

type raftRole interface {
	CurrentTerm() uint64
	State() raft.RaftState
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
}

// readRole reads a role that was true as a whole at some moment. Raft leaves the
// leader's state, and forgets the leader it knew, before it raises its term: so what is
// read between two equal readings of the term belongs to that term.
func readRole(r raftRole) role {
	for {
		term := r.CurrentTerm()
		leads := r.State() == raft.Leader
		_, id := r.LeaderWithID()
		if r.CurrentTerm() == term {
			return role{leader: string(id), term: term, leads: leads}
		}
	}
}

// leadership opens and closes the terms in which this replica leads, and knows whom to
// name otherwise. update, lost and stop are the supervisor's, which calls them from one
// goroutine.
type leadership struct {
	cfg      *Config
	writes   *proposer
	reads    *reads
	waits    *waits
	inflight *inflight

	current atomic.Pointer[role] // what was learned last
	term    uint64               // the term we lead in; 0 when we do not
	since   atomic.Uint64        // the same, for others
}

// hint is the refusal of a call that another leader, or another term, should get.
func (l *leadership) hint() *call.NotLeader {
	r := l.current.Load()
	if r == nil || r.leader == "" {
		return &call.NotLeader{}
	}
	return &call.NotLeader{Leader: r.leader, Term: r.term}
}

// leads returns the term that this replica leads in; 0 when it does not.
func (l *leadership) leads() uint64 { return l.since.Load() }

// raftLeader is what a leader's parts need of *raft.Raft.
type raftLeader interface {
	raftApply
	raftRead
	raftRole
}

// update acts on the role that r has now.
func (l *leadership) update(r raftLeader) {
	now := readRole(r)
	if now.leads {
		now.leader = l.cfg.NodeID
	} else if now.leader == l.cfg.NodeID {
		now.leader = "" // it was, a moment ago
	}
	if now.leads && l.term == 0 {
		// Before anybody here hears of the term: what is sent for it is to be taken.
		l.open(now.term, r)
	}
	old := l.current.Swap(&now)
	if l.term != 0 && (!now.leads || now.term != l.term) {
		l.lost(l.hint())
		l.abandon(l.hint())
	}
	switch {
	case now.leads && l.term == 0: // a term was lost and another one won in between
		l.open(now.term, r)
	case now.leads:
	case now.leader != "":
		l.writes.settle(now.term)
	case now.term > 0:
		l.writes.settle(now.term - 1) // this node may yet win the present one
	}
	if f := l.cfg.OnLeader; f != nil && (old == nil || old.leader != now.leader || old.term != now.term) {
		f(now.leader, now.term)
	}
}

// open starts a term in which this replica leads.
func (l *leadership) open(term uint64, r raftLeader) {
	l.term = term
	l.waits.open(term)
	l.reads.open(term, r)
	l.writes.open(term, r)
	l.since.Store(term)
	l.cfg.Logger.Info("leading", "shard", l.cfg.ID, "term", term)
}

// lost closes the term: what waits is refused. What was proposed keeps waiting for
// abandon.
func (l *leadership) lost(refusal error) {
	if l.term == 0 {
		return
	}
	l.cfg.Logger.Info("not leading any more", "shard", l.cfg.ID, "term", l.term)
	l.term = 0
	l.since.Store(0)
	l.writes.close(refusal)
	l.reads.close(refusal)
	l.waits.close(refusal)
}

// abandon answers what was proposed and not applied. Raft must have left the leader's
// state.
func (l *leadership) abandon(refusal error) { l.inflight.abandon(refusal) }

// forget says that there is no Raft instance: nobody is known to lead.
func (l *leadership) forget() {
	old := l.current.Load()
	if old == nil || old.leader == "" {
		return
	}
	l.current.Store(&role{term: old.term})
	if f := l.cfg.OnLeader; f != nil {
		f("", old.term)
	}
}

// ready lets reads and writes of term go ahead: its first record was applied.
func (l *leadership) ready(term uint64) {
	l.reads.setReady(term)
	l.writes.setReady(term)
}
