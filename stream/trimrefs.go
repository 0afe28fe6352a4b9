package stream

// trimRefs is trim with DELREF or ACKED on a stream that has groups. It works entry by entry
// up to the threshold, approximate or not, through the chunks that may go as a whole and the
// chunk after them. With DELREF it also removes the pending entries of each deleted entry.
// With ACKED it skips entries that a group still needs. The rule is that of streamTrim in
// redis src/t_stream.c.
func (tx *Tx) trimRefs(h *Head, t *trimArgs) (deleted uint64, err error) {
	limit := t.effectiveLimit(tx.settings().chunkMaxEntries)
	unread := MaxID // some group has not read the entries after it
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
	c, err := tx.frontChunk(h)
	if err != nil {
		return 0, err
	}
	for h.Length > 0 {
		if t.by == trimMaxLen && h.Length <= t.maxLen || c.Live > limit-deleted {
			break
		}
		whole := t.whole(&c, h.Length)
		ids, reached, err := tx.trimmable(h, &c, t, unread)
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
			c.drop(uint64(len(ids)))
			h.keepDead(c)
		}
		if reached || h.Length == 0 || !whole {
			break
		}
		next, ok, err := tx.chunkAfter(h, c.First)
		if err != nil || !ok {
			return deleted, err
		}
		c = next
	}
	return deleted, nil
}

// trimmable returns the entries of c that may go. reached means that the trim ends in c.
func (tx *Tx) trimmable(h *Head, c *chunk, t *trimArgs, unread ID) (ids []ID, reached bool, err error) {
	length := h.Length
	err = tx.eachEntry(h, c.First, c.Last, false, func(id ID, _ []byte) (bool, error) {
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

// chunkAfter returns the chunk of h after the one whose key is first, and whether there is
// one.
func (tx *Tx) chunkAfter(h *Head, first ID) (c chunk, ok bool, err error) {
	if h.Chunks == 0 || !first.Less(h.Tail.First) {
		return chunk{}, false, nil
	}
	next, err := first.Succ()
	if err != nil {
		return chunk{}, false, err // impossible: a chunk with a greater ID follows
	}
	lo, hi := tx.bounds(h, kindChunk, next, h.Tail.First)
	err = tx.scan(lo, hi, func(key, value []byte) (bool, error) {
		c, err = decodeChunk(idOfKey(key), value)
		ok = err == nil
		return false, err
	})
	if err != nil || ok {
		if ok && h.front.Live > 0 && c.First == h.front.First {
			c = h.front
		}
		return c, ok, err
	}
	return h.Tail, true, nil
}
