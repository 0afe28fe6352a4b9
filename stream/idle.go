package stream

import (
	"container/heap"
	"fmt"
	"millrace/kv"
	"slices"
)

// The two walks of eachIdle take so many steps in turn. Most often the walk by ID has
// the answer at once, or the other one has hardly anything to look at.
const (
	idleStrideByID    = 256
	idleStrideByClaim = 64
)

// eachIdle calls f on the pending entries of g, or of c when that is not nil, from
// a.from to a.to that have been idle for a.minIdleMS, in order of their IDs, on no more
// than a.count.
//
// Neither index alone will do: by ID there may be a million young entries before the
// first idle one, and in the order of claims there may be a million idle ones where
// only the least ID is asked for. So both are walked in turn, and the first to be
// done answers.
func (tx *Tx) eachIdle(h *Head, g *group, c *consumer, a *pendingArgs, f func(id ID, p pendingEntry) (bool, error)) error {
	below := claimableBelow(tx.NowMS, a.minIdleMS)
	if g.pending == 0 || a.to.Less(a.from) || a.to.Less(g.minPending) || g.maxPending.Less(a.from) || below <= g.minDue {
		return nil
	}
	if c != nil && (c.pending == 0 || a.to.Less(c.minOwned)) {
		return nil
	}
	w := idleWalk{h: h, g: g, c: c, a: a, nowMS: tx.NowMS, pending: tx.pendingCursor(h, g)}
	err := w.run(tx.kv, below)
	for _, id := range w.found {
		if err != nil {
			break
		}
		var p pendingEntry
		if p, err = w.pending.indexed(id); err == nil {
			_, err = f(id, p)
		}
	}
	if err = firstError(err, w.pending.close()); err != nil {
		return fmt.Errorf("idle entries of group %q of %q: %w", g.name, h.Name, err)
	}
	return nil
}

// idleWalk is one walk of eachIdle over both indexes.
type idleWalk struct {
	h     *Head
	g     *group
	c     *consumer // nil: of any
	a     *pendingArgs
	nowMS int64

	pending *cursor
	found   []ID   // in order
	least   maxIDs // the least IDs found in the order of claims so far
}

func (w *idleWalk) run(kv kv.Reader, below uint64) (err error) {
	lo, hi := pendingBounds(w.h, w.g, w.a.from, w.a.to)
	if w.c != nil {
		lo, hi = ownedBounds(w.h, w.g, w.c, w.a.from, w.a.to)
	}
	byID, err := kv.Iter(lo, hi)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, byID.Close()) }()
	byClaim, err := kv.Iter(dueBounds(w.h, w.g, below))
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, byClaim.Close()) }()

	idOK, claimOK := byID.First(), byClaim.First()
	for {
		for range idleStrideByID {
			if !idOK || int64(len(w.found)) == w.a.count {
				return byID.Error()
			}
			if err := w.visitByID(byID); err != nil {
				return err
			}
			idOK = byID.Next()
		}
		for range idleStrideByClaim {
			if !claimOK {
				w.found = w.least
				slices.SortFunc(w.found, ID.Compare)
				return byClaim.Error()
			}
			if err := w.visitByClaim(byClaim); err != nil {
				return err
			}
			claimOK = byClaim.Next()
		}
	}
}

// visitByID takes the entry at it, in order of IDs, if it is idle.
func (w *idleWalk) visitByID(it kv.Iterator) error {
	id := idOfKey(it.Key())
	var p pendingEntry
	var err error
	if w.c != nil {
		p, err = w.pending.indexed(id)
	} else {
		p, err = decodePending(it.Value())
	}
	if err == nil && p.claimable(w.nowMS, w.a.minIdleMS) {
		w.found = append(w.found, id)
	}
	return err
}

// visitByClaim takes the entry at it, which is idle, if it is asked for and among the
// least so far.
func (w *idleWalk) visitByClaim(it kv.Iterator) error {
	id := idOfKey(it.Key())
	if id.Less(w.a.from) || w.a.to.Less(id) {
		return nil
	}
	if int64(len(w.least)) == w.a.count && !id.Less(w.least[0]) {
		return nil
	}
	if w.c != nil {
		if dueOfKey(it.Key()) < claimOwned {
			return nil // released: nobody's
		}
		p, err := w.pending.indexed(id)
		if err != nil || p.cid != w.c.cid {
			return err
		}
	}
	if int64(len(w.least)) == w.a.count {
		w.least[0] = id
		heap.Fix(&w.least, 0)
	} else {
		heap.Push(&w.least, id)
	}
	return nil
}

// maxIDs is a heap with the greatest ID on top.
type maxIDs []ID

func (m maxIDs) Len() int           { return len(m) }
func (m maxIDs) Less(i, j int) bool { return m[j].Less(m[i]) }
func (m maxIDs) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push is heap.Interface's.
func (m *maxIDs) Push(x any) { *m = append(*m, x.(ID)) }

// Pop is heap.Interface's.
func (m *maxIDs) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
