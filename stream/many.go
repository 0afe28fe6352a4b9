package stream

import (
	"cmp"
	"fmt"
	"slices"

	"millrace/kv"
)

// A command can name thousands of IDs, for example XACK s g 1-0 2-0 … 10000-0. If each ID
// were looked up by itself, it would cost a search through all levels of the database. A
// finder looks the IDs up in rising order instead, so that most look-ups are a step of an
// iterator that is already open. It also holds on to the chunk of the last deleted entry,
// and writes each chunk once.
//
// The iterators do not see what the command itself writes. So a command must not look up
// the same ID twice: an ID that it names twice is handled by the caller, who knows what
// became of it the first time.

// minFinderIDs is the number of IDs from which on a finder opens iterators. An iterator is
// dearer than a few searches.
const minFinderIDs = 4

// maxFinderGroups bounds the groups whose pending entries a finder looks up with an open
// iterator. Groups beyond them are searched from the top, so that a stream with very many
// groups does not cost the memory of as many iterators.
const maxFinderGroups = 64

// finder looks up entries and pending entries of one stream in rising order of their IDs,
// and deletes entries. The caller closes it.
type finder struct {
	tx      *Tx
	h       *Head
	few     bool // whether to search for each ID; see minFinderIDs
	entries *cursor
	pending map[*group]*cursor
	chunks  kv.Iterator // over the chunk records before the last chunk; nil until needed

	chunk   chunk // in hand: of the latest entries
	held    bool  // whether there is one
	changed bool  // whether updateChunk has to store it
}

// finder returns a finder for about n IDs of h.
func (tx *Tx) finder(h *Head, n int) *finder {
	return &finder{tx: tx, h: h, few: n < minFinderIDs, entries: tx.entryCursor(h), pending: make(map[*group]*cursor)}
}

// close stores the chunk in hand and closes all iterators. It returns err if that is not
// nil, and otherwise the first failure.
func (f *finder) close(err error) error {
	if err == nil {
		err = f.storeChunk()
	}
	err = firstError(err, f.entries.close())
	for _, c := range f.pending {
		err = firstError(err, c.close())
	}
	if f.chunks != nil {
		err = firstError(err, f.chunks.Close())
	}
	return err
}

// entry returns the value of the entry id, and whether there is one. The value is valid
// until the next look-up.
func (f *finder) entry(id ID) (raw []byte, ok bool, err error) {
	if f.few {
		return f.tx.getEntry(f.h, id)
	}
	if f.h.Length == 0 || id.Less(f.h.First) || f.h.LastEntry.Less(id) {
		return nil, false, nil
	}
	return f.entries.get(id)
}

// pendingIn returns the pending entry id of g, and whether there is one.
func (f *finder) pendingIn(g *group, id ID) (pendingEntry, bool, error) {
	if !g.mayHold(id) {
		return pendingEntry{}, false, nil
	}
	c, ok := f.pending[g]
	if !ok {
		if f.few || len(f.pending) == maxFinderGroups {
			return f.tx.getPending(f.h, g, id)
		}
		c = f.tx.pendingCursor(f.h, g)
		f.pending[g] = c
	}
	v, ok, err := c.get(id)
	if err != nil || !ok {
		return pendingEntry{}, false, err
	}
	p, err := decodePending(v)
	if err != nil || g.hides(p) {
		return pendingEntry{}, false, err
	}
	return p, true, nil
}

// deleteEntry deletes the entry id, and reports whether there was one. tombstone says
// whether the deletion counts for max-deleted-entry-id: it does for XDEL, not for trims.
// Afterwards First and LastEntry may be bounds only. A command that reads them again calls
// settle before; otherwise Apply settles when the command ends.
func (f *finder) deleteEntry(id ID, tombstone bool) (bool, error) {
	_, ok, err := f.entry(id)
	if err != nil || !ok {
		return false, err
	}
	return true, f.dropEntry(id, tombstone)
}

// dropEntry is deleteEntry for an entry that is known to exist.
func (f *finder) dropEntry(id ID, tombstone bool) error {
	h := f.h
	if err := f.tx.batch.Delete(f.tx.idKey(h, kindEntry, id)); err != nil {
		return fmt.Errorf("delete entry %v of %q: %w", id, h.Name, err)
	}
	if tombstone && h.MaxDeleted.Less(id) {
		h.MaxDeleted = id
	}
	h.Length--
	h.ahead = h.ahead[:0]
	if id == h.First || id == h.LastEntry || h.Length == 0 {
		f.tx.unsettle(h)
	}
	f.tx.modified(h)
	if err := f.hold(id); err != nil {
		return err
	}
	f.chunk.drop(1)
	f.changed = true
	return nil
}

// hold takes the chunk of the entry id in hand.
func (f *finder) hold(id ID) error {
	if f.held && !f.chunk.Last.Less(id) {
		return nil
	}
	if err := f.storeChunk(); err != nil {
		return err
	}
	c, err := f.chunkOf(id)
	f.chunk, f.held = c, err == nil
	return err
}

// storeChunk stores the chunk in hand.
func (f *finder) storeChunk() error {
	changed := f.changed
	f.held, f.changed = false, false
	if !changed {
		return nil
	}
	return f.tx.updateChunk(f.h, &f.chunk)
}

// chunkOf is Tx.chunkOf with an iterator that stays open. The chunk of id was not changed
// by this command, because the IDs rise.
func (f *finder) chunkOf(id ID) (chunk, error) {
	h := f.h
	if !id.Less(h.Tail.First) {
		return h.Tail, nil
	}
	if h.front.Live > 0 && !h.front.Last.Less(id) {
		return h.front, nil
	}
	if f.chunks == nil {
		it, err := f.tx.kv.Iter(f.tx.bounds(h, kindChunk, ID{}, h.Tail.First))
		if err != nil {
			return chunk{}, fmt.Errorf("find the chunk of %v in %q: %w", id, h.Name, err)
		}
		f.chunks = it
	}
	next, err := id.Succ()
	if err != nil {
		return chunk{}, err // impossible: the last chunk has a greater ID
	}
	c, ok, err := chunkAt(f.chunks, f.chunks.SeekLT(f.tx.idKey(h, kindChunk, next)))
	if err == nil && !ok {
		err = fmt.Errorf("stream: no chunk of %q holds %v", h.Name, id)
	}
	return c, err
}

// rising returns the indexes of ids in rising order of the IDs. The indexes of equal IDs
// rise too.
func rising(ids []ID) []int {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(ids[i].Compare(ids[j]), cmp.Compare(i, j))
	})
	return order
}

// eachRising calls f on each index of ids in rising order of the IDs. again means that the
// call before was for the same ID.
func eachRising(ids []ID, f func(i int, again bool) error) error {
	order := rising(ids)
	for k, i := range order {
		if err := f(i, k > 0 && ids[order[k-1]] == ids[i]); err != nil {
			return err
		}
	}
	return nil
}
