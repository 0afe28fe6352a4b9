package stream

// trimRefs is trim where groups have a say: entry by entry up to the threshold, be it
// approximate or not, through the nodes that may go as a whole and the one after them.
// DELREF makes each deleted entry no longer pending; ACKED passes over entries that a
// group still needs, and goes on behind them. The rule is streamTrim's in redis
// src/t_stream.c.
func (tx *Tx) trimRefs(h *Head, t *trimArgs) (deleted uint64, err error) {
	limit := t.effectiveLimit(tx.settings().nodeMaxEntries)
	unread := MaxID // entries after it have not reached some group
	if t.refs == ackedRef {
		groups, err := tx.listGroups(h)
		if err != nil {
			return 0, err
		}
		for _, g := range groups {
			if g.delivered.Less(unread) {
				unread = g.delivered
			}
		}
	}
	n, err := tx.frontNode(h)
	if err != nil {
		return 0, err
	}
	for h.Length > 0 {
		if t.by == trimMaxLen && h.Length <= t.maxLen || n.Live > limit-deleted {
			break
		}
		whole := t.whole(&n, h.Length)
		ids, reached, err := tx.trimmable(h, &n, t, unread)
		if err != nil {
			return deleted, err
		}
		for _, id := range ids {
			if t.refs == delRef {
				if err := tx.dropReferences(h, id); err != nil {
					return deleted, err
				}
			}
			if err := tx.dropEntry(h, id, false); err != nil {
				return deleted, err
			}
			deleted++
		}
		if err := tx.settle(h); err != nil {
			return deleted, err
		}
		if h.Length == 0 && !whole {
			n.drop(uint64(len(ids)))
			h.keepDead(n)
		}
		if reached || h.Length == 0 || !whole {
			break
		}
		next, ok, err := tx.nodeAfter(h, n.First)
		if err != nil || !ok {
			return deleted, err
		}
		n = next
	}
	return deleted, nil
}

// trimmable returns the entries of n that may go, and whether no later entry of h may.
func (tx *Tx) trimmable(h *Head, n *node, t *trimArgs, unread ID) (ids []ID, reached bool, err error) {
	length := h.Length
	err = tx.eachEntry(h, n.First, n.Last, false, func(id ID, _ []byte) (bool, error) {
		if t.by == trimMaxLen && length <= t.maxLen || t.by == trimMinID && !id.Less(t.minID) || unread.Less(id) {
			reached = true
			return false, nil
		}
		if t.refs == ackedRef {
			held, err := tx.referenced(h, id)
			if err != nil || held {
				return err == nil, err
			}
		}
		ids = append(ids, id)
		length--
		return true, nil
	})
	return ids, reached, err
}

// nodeAfter returns the first node of h after first.
func (tx *Tx) nodeAfter(h *Head, first ID) (n node, ok bool, err error) {
	if h.Nodes == 0 || !first.Less(h.Tail.First) {
		return node{}, false, nil
	}
	next, err := first.Succ()
	if err != nil {
		return node{}, false, err // not where another node follows
	}
	lo, hi := tx.bounds(h, kindNode, next, h.Tail.First)
	err = tx.scan(lo, hi, func(key, value []byte) (bool, error) {
		n, err = decodeNode(idOfKey(key), value)
		ok = err == nil
		return false, err
	})
	if err != nil || ok {
		if ok && h.front.Live > 0 && n.First == h.front.First {
			n = h.front
		}
		return n, ok, err
	}
	return h.Tail, true, nil
}
