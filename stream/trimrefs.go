package stream

import "millrace/kv"

// trimRefs is trim with DELREF or ACKED on a stream that has groups. It works entry by entry
// up to the threshold, approximate or not, through the chunks that may go as a whole and the
// chunk after them. With DELREF it also removes the pending entries of each deleted entry.
// With ACKED it skips entries that a group still needs. The rule is that of streamTrim in
// redis src/t_stream.c.
//
// It walks the entries forward once, and in step with them the pending entries of each
// group. It stops after maxTrimSteps, because nothing else runs in the shard meanwhile. The
// rest is left to the next trim: XTRIM answers how many entries it has deleted, and the next
// XADD with MAXLEN goes on. For example, XTRIM s MAXLEN 0 DELREF of a million entries with
// three groups deletes 32,768 of them.
func (tx *Tx) trimRefs(h *Head, t *trimArgs) (deleted uint64, err error) {
	if _, err := tx.frontChunk(h); err != nil {
		return 0, err
	}
	n := uint64(minFinderIDs)
	if t.by == trimMaxLen {
		n = min(n, h.Length-t.maxLen)
	}
	groups, err := tx.listGroups(h)
	if err != nil {
		return 0, err
	}
	w := refTrim{
		f: tx.finder(h, int(n)), t: t, limit: t.effectiveLimit(tx.settings().chunkMaxEntries), unread: MaxID,
		left: maxTrimSteps / (1 + len(groups)),
	}
	if t.refs == ackedRef {
		for _, g := range groups {
			if g.delivered.Less(w.unread) {
				w.unread = g.delivered
			}
		}
	}
	it, err := tx.entryIter(h, h.First, h.LastEntry)
	if err != nil {
		return 0, w.f.close(err)
	}
	err = w.run(it)
	return w.deleted, firstError(w.f.close(err), it.Close())
}

// maxTrimSteps bounds the look-ups of one trimRefs: one for each entry, and one for each of
// its possible references, a group.
const maxTrimSteps = 1 << 17

// refTrim is one run of trimRefs.
type refTrim struct {
	left    int // entries that may still be looked at
	f       *finder
	t       *trimArgs
	limit   uint64 // entries that may go
	unread  ID     // some group has not read the entries after it
	deleted uint64
}

// run trims the entries at it, chunk by chunk.
func (w *refTrim) run(it kv.Iterator) error {
	h := w.f.h
	for ok := it.First(); ok && h.Length > 0; ok = it.Valid() {
		if err := w.f.hold(idOfKey(it.Key())); err != nil {
			return err
		}
		c := w.f.chunk
		if w.t.by == trimMaxLen && h.Length <= w.t.maxLen || c.Live > w.limit-w.deleted {
			return nil
		}
		whole := w.t.whole(&c, h.Length)
		n, reached, err := w.trimChunk(it, c.Last)
		w.deleted += n
		if err != nil {
			return err
		}
		if h.Length == 0 && !whole {
			if err := w.f.storeChunk(); err != nil {
				return err
			}
			c.drop(n)
			h.keepDead(c)
		}
		if reached || !whole {
			return nil
		}
	}
	return it.Error()
}

// trimChunk trims the entries at it up to last, the end of a chunk. It returns their number.
// reached means that the trim ends in the chunk.
func (w *refTrim) trimChunk(it kv.Iterator, last ID) (n uint64, reached bool, err error) {
	h, t := w.f.h, w.t
	for ok := true; ok; ok = it.Next() {
		id := idOfKey(it.Key())
		switch {
		case last.Less(id):
			return n, false, nil
		case w.left == 0:
			return n, true, nil
		case t.by == trimMaxLen && h.Length <= t.maxLen, t.by == trimMinID && !id.Less(t.minID), w.unread.Less(id):
			return n, true, nil
		}
		w.left--
		if t.refs == delRef {
			err = w.f.dropReferences(id, nil)
		} else if held, e := w.f.referenced(id, nil); held || e != nil {
			if e != nil {
				return n, false, e
			}
			continue
		}
		if err == nil {
			err = w.f.dropEntry(id, false)
		}
		if err != nil {
			return n, false, err
		}
		n++
		if err := w.f.tx.step(1); err != nil {
			return n, true, err
		}
	}
	return n, false, it.Error()
}
