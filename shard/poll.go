package shard

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
)

// poll reports whether a majority of the voters, this one included, is in no later term
// than term.
func (r *reads) poll(term uint64, rf raftRead) bool {
	if v, ok := rf.(interface{ VerifyLeader() raft.Future }); mutant.VerifyLeaderReads && ok {
		return v.VerifyLeader().Error() == nil
	}
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return false
	}
	self := raft.ServerID(r.cfg.NodeID)
	var others []string
	voters, yes := 0, 0
	for _, s := range f.Configuration().Servers {
		if s.Suffrage != raft.Voter {
			if mutant.NonvotersCount {
				others = append(others, string(s.ID))
			}
			continue
		}
		voters++
		if s.ID == self {
			yes++
		} else {
			others = append(others, string(s.ID))
		}
	}
	need := voters/2 + 1
	if yes == 0 || !leads(rf, term) {
		return false
	}
	if yes < need {
		r.counters.polls.Add(1)
		yes += r.ask(others, term, need-yes)
	}
	return yes >= need && leads(rf, term)
}

// leads reports whether rf leads in term. The term is read twice so that the state
// belongs to it.
func leads(rf raftRead, term uint64) bool {
	return rf.CurrentTerm() == term && rf.State() == raft.Leader && rf.CurrentTerm() == term
}

// ask asks nodes for their terms. It stops when need of them are in no later term than
// term, or when too few are left for that. It returns how many are.
func (r *reads) ask(nodes []string, term uint64, need int) int {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timing.Probe)
	answers := make(chan bool, len(nodes))
	var wg sync.WaitGroup
	// One goroutine for each other voter, for the duration of its question.
	for _, node := range nodes {
		wg.Go(func() {
			p, err := r.cfg.Prober.Probe(ctx, node, r.cfg.ID)
			// A replica without a running Raft reports term 0: it may be about to vote
			// for another.
			answers <- err == nil && p.Hosted && p.Term != 0 && p.Term <= term
		})
	}
	yes, no := 0, 0
	for yes < need && len(nodes)-no >= need {
		if <-answers {
			yes++
		} else {
			no++
		}
	}
	cancel()
	wg.Wait()
	return yes
}
