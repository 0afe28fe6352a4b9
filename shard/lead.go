package shard

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"millrace/call"
)

// errEmptyCall refuses a call that holds no command, or more than its kind may.
var errEmptyCall = errors.New("shard: the call has no command to run")

// runnable reports whether c has commands that can be run: one, or those of an EXEC.
func runnable(c *call.Call) bool {
	empty := func(argv [][]byte) bool { return len(argv) == 0 }
	return (len(c.Cmds) == 1 || c.Multi && len(c.Cmds) > 0) && !slices.ContainsFunc(c.Cmds, empty)
}

// role is the state of a Raft instance at one moment.
type role struct {
	leader string // node ID of the leader; empty when unknown
	term   uint64 // Raft's current term
	leads  bool   // this node is that leader
}

// readRole returns a role whose parts were all true at one moment. Raft leaves the
// leader's state, and forgets the leader it knew, before it raises its term. So
// everything read between two equal readings of the term belongs to that term.
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

// leadership opens and closes the terms in which this replica leads, and keeps standing
// up to date. The supervisor calls update, lost and forget, from one goroutine.
type leadership struct {
	*shared
	parts *leaderParts
	admin *admin
	raft  roleSource

	term uint64 // the term this replica leads in, or 0; standing.open follows once its calls are taken

	mu    sync.Mutex   // held while a term is opened
	early []*call.Call // guarded by mu: calls of a term that Raft leads in and that is not open yet
}

// roleSource gives the roles of the Raft instance that runs, or nil while none does.
type roleSource interface{ roles() raftRole }

func newLeadership(sh *shared, p *leaderParts, a *admin) *leadership {
	return &leadership{shared: sh, parts: p, admin: a, raft: sh}
}

// accept hands c to the part that takes its kind, or returns why it is refused.
func (l *leadership) accept(c *call.Call) error {
	switch c.Kind {
	case call.Write:
		return l.parts.writes.accept(c)
	case call.Read:
		return l.parts.reads.accept(c)
	case call.Block, call.Wait:
		return l.parts.waits.accept(c)
	case call.Admin:
		return l.admin.accept(c)
	}
	return fmt.Errorf("%w: kind %d", errEmptyCall, c.Kind)
}

// take hands c to the part that takes its kind, or returns why it is refused.
//
// The sender of a call can know of a new leader from a follower, before the leader's own
// supervisor does. Such an early call is kept until its term opens, and goes first: if it
// were refused, the next one under the same term could be accepted, against their order.
// If Raft does not lead in the call's term now, that term is over or never began here, so
// the call is refused.
func (l *leadership) take(c *call.Call) error {
	if c.Term == l.open.Load() || c.Term == 0 {
		return l.accept(c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Term != l.open.Load() {
		r := l.raft.roles()
		if r == nil {
			return l.hint()
		}
		if now := readRole(r); !now.leads || now.term != c.Term {
			return l.hint()
		}
		if len(l.early) >= l.cfg.Limits.QueueCalls {
			return call.ErrOverloaded
		}
		l.early = append(l.early, c)
		l.orders.look.send()
		return nil
	}
	return l.accept(c)
}

// withdraw takes back a call that waits for its term to open, and reports whether it did.
func (l *leadership) withdraw(c *call.Call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.early, c)
	if i >= 0 {
		l.early = slices.Delete(l.early, i, i+1)
	}
	return i >= 0
}

// refuseEarly refuses the early calls of all terms but one; zero spares none.
func (l *leadership) refuseEarly(but uint64, refusal error) {
	l.mu.Lock()
	var out []*call.Call
	kept := l.early[:0]
	for _, c := range l.early {
		if c.Term == but && but != 0 {
			kept = append(kept, c)
		} else {
			out = append(out, c)
		}
	}
	clear(l.early[len(kept):])
	l.early = kept
	l.mu.Unlock()
	for _, c := range out {
		c.Done(call.Result{Err: refusal})
	}
}

// update acts on the role that r has now.
func (l *leadership) update(r raftLeader) {
	now := readRole(r)
	if now.leads {
		now.leader = l.cfg.NodeID
	} else if now.leader == l.cfg.NodeID {
		now.leader = "" // Raft still names this node, which led a moment ago
	}
	old := l.known.Swap(&now)
	if l.term != 0 && (!now.leads || now.term != l.term) {
		l.lost(l.hint())
		l.abandon(l.hint())
	}
	if now.leads && l.term == 0 {
		l.begin(now.term, r)
	}
	l.refuseEarly(0, l.hint())
	if f := l.cfg.OnLeader; f != nil && (old == nil || old.leader != now.leader || old.term != now.term) {
		f(now.leader, now.term)
	}
}

// begin opens a term.
func (l *leadership) begin(term uint64, r raftLeader) {
	l.term = term
	l.refuseEarly(term, l.hint())
	type refused struct {
		call *call.Call
		err  error
	}
	var out []refused
	l.mu.Lock()
	l.parts.open(term, r)
	for _, c := range l.early {
		if err := l.accept(c); err != nil {
			out = append(out, refused{c, err})
		}
	}
	l.early = nil
	l.open.Store(term)
	l.mu.Unlock()
	for _, r := range out {
		r.call.Done(call.Result{Err: r.err})
	}
	l.cfg.Logger.Info("leading", "shard", l.cfg.ID, "term", term)
}

// lost closes the term and refuses the calls that wait. Calls that were proposed are left
// for abandon.
func (l *leadership) lost(refusal error) {
	l.refuseEarly(0, refusal)
	if l.term == 0 {
		return
	}
	l.cfg.Logger.Info("not leading any more", "shard", l.cfg.ID, "term", l.term)
	l.term = 0
	l.open.Store(0)
	l.parts.close(refusal)
}

// abandon answers the calls that were proposed and not applied. Raft must have left the
// leader's state.
func (l *leadership) abandon(refusal error) { l.inflight.abandon(refusal) }

// forget notes that no Raft instance runs: nobody is known to lead.
func (l *leadership) forget() {
	old := l.known.Load()
	if old == nil || old.leader == "" {
		return
	}
	l.known.Store(&role{term: old.term})
	if f := l.cfg.OnLeader; f != nil {
		f("", old.term)
	}
}
