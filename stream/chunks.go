package stream

import (
	"fmt"
	"millrace/kv"
)

// appendChunk counts a new entry, whose fields and values have size bytes, in the last
// chunk of h, or begins a new chunk with it when the last one is full.
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
	if h.deadTail() { // it has no entries, so its record would never be read
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

// deadTail reports whether h has no entries but still a chunk, which takes the next entry.
func (h *Head) deadTail() bool { return h.Chunks == 1 && h.Tail.Live == 0 }

// keepDead makes c, whose entries are all deleted, the only chunk of the empty stream h.
func (h *Head) keepDead(c chunk) { h.Chunks, h.Tail = 1, c }

// chunkOf returns the chunk of the entry id of h.
func (tx *Tx) chunkOf(h *Head, id ID) (chunk, error) {
	if !id.Less(h.Tail.First) {
		return h.Tail, nil
	}
	if h.front.Live > 0 && !h.front.Last.Less(id) {
		return h.front, nil
	}
	c, ok, err := tx.chunkBefore(h, id)
	if err == nil && !ok {
		err = fmt.Errorf("stream: no chunk of %q holds %v", h.Name, id)
	}
	return c, err
}

// chunkBefore returns the last chunk record at or before id. It searches backward from id,
// so that it does not have to skip the tombstones of trimmed chunks.
func (tx *Tx) chunkBefore(h *Head, id ID) (c chunk, ok bool, err error) {
	it, err := tx.kv.Iter(tx.bounds(h, kindChunk, ID{}, id))
	if err != nil {
		return chunk{}, false, fmt.Errorf("find the chunk of %v in %q: %w", id, h.Name, err)
	}
	c, ok, err = chunkAt(it, it.Last())
	if ok && c.First == h.front.First && h.front.Live > 0 {
		c = h.front
	}
	return c, ok, firstError(err, it.Close())
}

// chunkAt returns the chunk at the place of it. ok is the result of the iterator's last
// move.
func chunkAt(it kv.Iterator, ok bool) (chunk, bool, error) {
	if !ok {
		return chunk{}, false, it.Error()
	}
	c, err := decodeChunk(idOfKey(it.Key()), it.Value())
	return c, err == nil, err
}

// frontChunk returns the first chunk of h, which must have one. It keeps the chunk in
// memory, because every trim looks at it.
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
	c, err := tx.chunkOf(h, h.First)
	if err == nil {
		h.front = c
	}
	return c, err
}

// updateChunk stores the changed chunk c, or removes it when it has no live entry left.
func (tx *Tx) updateChunk(h *Head, c *chunk) error {
	tx.dirty(h)
	tail, front := c.First == h.Tail.First, h.front.Live > 0 && c.First == h.front.First
	switch {
	case c.Live > 0 && tail:
		h.Tail = *c
		return nil
	case c.Live > 0 && front:
		h.front, h.frontDirty = *c, true
		return nil
	case c.Live > 0:
		return tx.putChunk(h, c)
	case tail:
		return tx.dropTail(h)
	case front:
		h.front, h.frontDirty = chunk{}, false
	}
	h.Chunks--
	return tx.batch.Delete(tx.idKey(h, kindChunk, c.First))
}

// dropTail removes the last chunk. The one before it, if any, moves into the head.
func (tx *Tx) dropTail(h *Head) error {
	h.Chunks--
	if h.Chunks == 0 {
		h.Tail = chunk{}
		return nil
	}
	c, ok, err := tx.chunkBefore(h, h.Tail.First)
	if err == nil && !ok {
		err = fmt.Errorf("stream: %q counts %d chunks before its last and has none", h.Name, h.Chunks)
	}
	if err != nil {
		return err
	}
	if c.First == h.front.First {
		h.front, h.frontDirty = chunk{}, false
	}
	h.Tail = c
	return tx.batch.Delete(tx.idKey(h, kindChunk, c.First))
}

// putChunk stores the record of c, which is not the last chunk of h, or will not be after
// the caller adds another.
func (tx *Tx) putChunk(h *Head, c *chunk) error {
	tx.valueBuf = c.append(tx.valueBuf[:0])
	if err := tx.batch.Set(tx.idKey(h, kindChunk, c.First), tx.valueBuf); err != nil {
		return fmt.Errorf("put chunk %v of %q: %w", c.First, h.Name, err)
	}
	return nil
}
