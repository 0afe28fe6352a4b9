package node

import (
	"context"
	"errors"
	"sync"

	"millrace/router"
)

// errUnsettled says that a leader does not know yet what its predecessors committed.
var errUnsettled = errors.New("the leader has not committed anything in its term yet")

// progress asks a shard's leader what is committed, and then, if more are wanted than have
// that for certain, its other replicas what they have applied. It may be cut short by ctx:
// replicas that did not answer are left out.
//
// Whatever was committed under an earlier membership is on a majority of the present one:
// that has the record which made it.
func (n *Node) progress(ctx context.Context, id uint32, wanted int) (router.Progress, error) {
	st, err := n.shardStatus(ctx, id)
	if err != nil {
		return router.Progress{}, err
	}
	if !st.Ready {
		return router.Progress{}, errUnsettled
	}
	out := router.Progress{Sure: len(st.Voters) / 2, Commit: st.Commit}
	if out.Sure >= wanted {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var (
		mu     sync.Mutex
		others = make(map[string]uint64)
		wg     sync.WaitGroup
	)
	for _, replica := range append(st.Voters, st.Nonvoters...) {
		if replica == st.Node {
			continue
		}
		wg.Go(func() {
			if p, err := n.probe(ctx, replica, id); err == nil && p.Hosted {
				mu.Lock()
				others[replica] = p.Applied
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	out.Others = others
	return out, nil
}

// shutdown returns what stops the node when a client asks for it; nil where it may not.
func (n *Node) shutdown() func() {
	if !n.cfg.EnableShutdown {
		return nil
	}
	return sync.OnceFunc(func() { close(n.asked) })
}
