package stream

// trimRefs is trim where groups have a say: entry by entry up to the threshold, be it
// approximate or not, through the chunks that may go as a whole and the one after them.
// DELREF makes each deleted entry no longer pending; ACKED passes over entries that a
// group still needs, and goes on behind them. The rule is streamTrim's in redis
// src/t_stream.c.
func (tx *Tx) trimRefs(h *Head, t *trimArgs) (deleted uint64, err error) {
	limit := t.effectiveLimit(tx.settings().chunkMaxEntries)
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
	n, err := tx.frontChunk(h)
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
		next, ok, err := tx.chunkAfter(h, n.First)
		if err != nil || !ok {
			return deleted, err
		}
		n = next
	}
	return deleted, nil
}

// trimmable returns the entries of n that may go, and whether no later entry of h may.
func (tx *Tx) trimmable(h *Head, n *chunk, t *trimArgs, unread ID) (ids []ID, reached bool, err error) {
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

// chunkAfter returns the first chunk of h after first.
func (tx *Tx) chunkAfter(h *Head, first ID) (n chunk, ok bool, err error) {
	if h.Chunks == 0 || !first.Less(h.Tail.First) {
		return chunk{}, false, nil
	}
	next, err := first.Succ()
	if err != nil {
		return chunk{}, false, err // not where another chunk follows
	}
	lo, hi := tx.bounds(h, kindChunk, next, h.Tail.First)
	err = tx.scan(lo, hi, func(key, value []byte) (bool, error) {
		n, err = decodeChunk(idOfKey(key), value)
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
