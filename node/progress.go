package node

import (
	"context"
	"errors"

	"millrace/router"
)

// errUnsettled means that a new leader does not know yet which records its predecessors
// have committed.
var errUnsettled = errors.New("the leader has not committed anything in its term yet")

// progress tells WAIT how many replicas have a shard's writes on disk. It asks the leader,
// which knows the position of each follower that has acknowledged a record in its term. A
// majority certainly has every committed record, also before the followers of a new leader
// have acknowledged anything.
//
// For example, of 3 voters the leader and one more are certain, so Sure is 1, because WAIT
// does not count the leader. For wanted 2, both followers must have the commit index on
// disk.
//
// This also holds after the shard's voters have changed: a majority of the present voters
// has the record that made them voters, and so all records before it.
func (n *Node) progress(ctx context.Context, id uint32) (router.Progress, error) {
	st, err := n.shardStatus(ctx, id)
	if err != nil {
		return router.Progress{}, err
	}
	if !st.Ready {
		return router.Progress{}, errUnsettled
	}
	out := router.Progress{Sure: len(st.Voters) / 2, Commit: st.Commit, Others: make(map[string]uint64)}
	for _, replica := range append(st.Voters, st.Nonvoters...) {
		if at, ok := st.Stored[replica]; ok && replica != st.Node {
			out.Others[replica] = at
		}
	}
	return out, nil
}
