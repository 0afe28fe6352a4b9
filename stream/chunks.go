package stream

import (
	"fmt"
	"millrace/kv"
)

// appendChunk puts a new entry, whose fields and values have size bytes, into the last
// chunk of h, or into a new one after it.
func (tx *Tx) appendChunk(h *Head, id ID, words [][]byte, size uint64) error {
	fields := hashFields(words)
	if h.Chunks == 0 {
		h.Chunks = 1
		h.Tail.begin(id, words, fields)
		return nil
	}
	set := tx.settings()
	if !h.Tail.full(size, set.chunkMaxEntries, set.chunkMaxBytes) {
		h.Tail.add(id, words, fields)
		return nil
	}
	if h.deadTail() { // nothing ever asks for it again
		h.Tail.begin(id, words, fields)
		return nil
	}
	if err := tx.putChunk(h, &h.Tail); err != nil {
		return err
	}
	h.Chunks++
	h.Tail.begin(id, words, fields)
	return nil
}

// deadTail reports whether h has no entries, and yet a chunk that takes the next one.
func (h *Head) deadTail() bool { return h.Chunks == 1 && h.Tail.Live == 0 }

// keepDead makes n, whose entries are all deleted, the only chunk of h, which has no
// entries.
func (h *Head) keepDead(n chunk) { h.Chunks, h.Tail = 1, n }

// shrinkChunk takes the deleted entry id out of its chunk.
func (tx *Tx) shrinkChunk(h *Head, id ID) error {
	n, err := tx.chunkOf(h, id)
	if err != nil {
		return err
	}
	n.drop(1)
	return tx.updateChunk(h, &n)
}

// chunkOf returns the chunk that holds id, an entry of h.
func (tx *Tx) chunkOf(h *Head, id ID) (chunk, error) {
	if !id.Less(h.Tail.First) {
		return h.Tail, nil
	}
	if h.front.Live > 0 && !h.front.Last.Less(id) {
		return h.front, nil
	}
	n, ok, err := tx.chunkBefore(h, id)
	if err == nil && !ok {
		err = fmt.Errorf("stream: no chunk of %q holds %v", h.Name, id)
	}
	return n, err
}

// chunkBefore returns the last chunk record at or before id. It seeks backward from id,
// so it crawls over no trimmed chunks.
func (tx *Tx) chunkBefore(h *Head, id ID) (n chunk, ok bool, err error) {
	it, err := tx.kv.Iter(tx.bounds(h, kindChunk, ID{}, id))
	if err != nil {
		return chunk{}, false, fmt.Errorf("find the chunk of %v in %q: %w", id, h.Name, err)
	}
	n, ok, err = chunkAt(it, it.Last())
	if ok && n.First == h.front.First && h.front.Live > 0 {
		n = h.front
	}
	return n, ok, firstError(err, it.Close())
}

// chunkAt returns the chunk at it, where ok says that it is at one.
func chunkAt(it kv.Iterator, ok bool) (chunk, bool, error) {
	if !ok {
		return chunk{}, false, it.Error()
	}
	n, err := decodeChunk(idOfKey(it.Key()), it.Value())
	return n, err == nil, err
}

// frontChunk returns the first chunk of h, which has one, and keeps it in memory: trims
// look at it again and again.
func (tx *Tx) frontChunk(h *Head) (chunk, error) {
	switch {
	case h.Chunks == 1:
		return h.Tail, nil
	case h.front.Live > 0:
		return h.front, nil
	}
	if err := tx.settle(h); err != nil {
		return chunk{}, err
	}
	n, err := tx.chunkOf(h, h.First)
	if err == nil {
		h.front = n
	}
	return n, err
}

// updateChunk stores the changed chunk n, or removes it where it has no live entry left.
func (tx *Tx) updateChunk(h *Head, n *chunk) error {
	tx.dirty(h)
	tail, front := n.First == h.Tail.First, h.front.Live > 0 && n.First == h.front.First
	switch {
	case n.Live > 0 && tail:
		h.Tail = *n
		return nil
	case n.Live > 0 && front:
		h.front, h.frontDirty = *n, true
		return nil
	case n.Live > 0:
		return tx.putChunk(h, n)
	case tail:
		return tx.dropTail(h)
	case front:
		h.front, h.frontDirty = chunk{}, false
	}
	h.Chunks--
	return tx.batch.Delete(tx.idKey(h, kindChunk, n.First))
}

// dropTail removes the last chunk; the one before it, where there is one, takes its place.
func (tx *Tx) dropTail(h *Head) error {
	h.Chunks--
	if h.Chunks == 0 {
		h.Tail = chunk{}
		return nil
	}
	n, ok, err := tx.chunkBefore(h, h.Tail.First)
	if err == nil && !ok {
		err = fmt.Errorf("stream: %q counts %d chunks before its last and has none", h.Name, h.Chunks)
	}
	if err != nil {
		return err
	}
	if n.First == h.front.First {
		h.front, h.frontDirty = chunk{}, false
	}
	h.Tail = n
	return tx.batch.Delete(tx.idKey(h, kindChunk, n.First))
}

// putChunk stores n, which is not the last chunk of h, or is about to be no more.
func (tx *Tx) putChunk(h *Head, n *chunk) error {
	tx.valueBuf = n.append(tx.valueBuf[:0])
	if err := tx.batch.Set(tx.idKey(h, kindChunk, n.First), tx.valueBuf); err != nil {
		return fmt.Errorf("put chunk %v of %q: %w", n.First, h.Name, err)
	}
	return nil
}
