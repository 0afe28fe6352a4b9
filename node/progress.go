package node

import (
	"context"
	"errors"
	"sync"

	"millrace/router"
)

// errUnsettled means that a new leader does not know yet which records its predecessors
// have committed.
var errUnsettled = errors.New("the leader has not committed anything in its term yet")

// progress tells WAIT how many replicas have a shard's writes. It asks the leader for the
// commit index. A majority certainly has every committed record; only if wanted is more
// than that does progress also ask the other replicas for their applied indexes. It leaves
// out replicas that do not answer before ctx ends.
//
// For example, of 3 voters the leader and one more are certain, so Sure is 1, because WAIT
// does not count the leader. For wanted 1 that is enough; for 2 the others are asked.
//
// This also holds after the shard's voters have changed: a majority of the present voters
// has the record that made them voters, and so all records before it.
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
			if p, err := n.delivery.Probe(ctx, replica, id); err == nil && p.Hosted {
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
