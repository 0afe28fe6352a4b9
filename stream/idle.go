package stream

import (
	"container/heap"
	"fmt"
	"millrace/kv"
	"slices"
)

// The two walks of eachIdle alternate after this many steps. In most calls the walk by ID
// finds the answer at once, or the walk in order of claims has few entries to look at.
const (
	idleStrideByID    = 256
	idleStrideByClaim = 64
)

// eachIdle calls f on the pending entries of g, or only on those of c when c is not nil,
// with IDs from a.from to a.to that have been idle for a.minIdleMS. It calls f in the order
// of the IDs, at most a.count times.
//
// Neither index alone is fast enough. By ID, a million young entries may come before the
// first idle one. In the order of claims, a million entries may be idle although the call
// wants only the lowest ID. Therefore both indexes are walked in turns, and the walk that
// ends first gives the answer.
func (tx *Tx) eachIdle(h *Head, g *group, c *consumer, a *pendingArgs, f func(id ID, p pendingEntry) (bool, error)) error {
	below := claimableBelow(tx.NowMS, a.minIdleMS)
	if g.pending == 0 || a.to.Less(a.from) || a.to.Less(g.minPending) || g.maxPending.Less(a.from) || below <= g.minDue {
		return nil
	}
	if c != nil && (c.pending == 0 || a.to.Less(c.minOwned)) {
		return nil
	}
	w := idleWalk{h: h, g: g, c: c, a: a, nowMS: tx.NowMS, pending: tx.pendingCursor(h, g), tx: tx}
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

// idleWalk is the state of one eachIdle.
type idleWalk struct {
	h     *Head
	g     *group
	c     *consumer // nil: entries of any owner
	a     *pendingArgs
	nowMS int64

	tx      *Tx
	pending *cursor
	found   []ID   // the walk by ID: idle entries so far, in order
	least   maxIDs // the walk in order of claims: the a.count lowest IDs so far
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
		if err := w.tx.step(idleStrideByID + idleStrideByClaim); err != nil {
			return err
		}
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

// visitByID adds the entry at it to found if it is idle. it walks in the order of IDs.
func (w *idleWalk) visitByID(it kv.Iterator) error {
	id := idOfKey(it.Key())
	var p pendingEntry
	var err error
	if w.c != nil {
		p, err = w.pending.indexed(id)
	} else {
		p, err = decodePending(it.Value())
	}
	if err == nil && !w.g.hides(p) && p.claimable(w.nowMS, w.a.minIdleMS) {
		w.found = append(w.found, id)
	}
	return err
}

// visitByClaim adds the entry at it to least if it is wanted and its ID is among the
// lowest so far. it walks in the order of claims, over idle entries only.
func (w *idleWalk) visitByClaim(it kv.Iterator) error {
	id := idOfKey(it.Key())
	if id.Less(w.a.from) || w.a.to.Less(id) {
		return nil
	}
	if int64(len(w.least)) == w.a.count && !id.Less(w.least[0]) {
		return nil
	}
	released := dueOfKey(it.Key()) < claimOwned
	if w.c != nil && released {
		return nil // it has no owner
	}
	if w.c != nil || !released && len(w.g.leftovers) > 0 {
		p, err := w.pending.indexed(id)
		if err != nil || w.c != nil && p.cid != w.c.cid || w.g.hides(p) {
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

// Push implements heap.Interface.
func (m *maxIDs) Push(x any) { *m = append(*m, x.(ID)) }

// Pop implements heap.Interface.
func (m *maxIDs) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
