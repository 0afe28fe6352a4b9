package stream

import (
	"encoding/binary"
	"fmt"

	"millrace/kv"
	"millrace/resp"
)

// The value of an entry holds its fields and their values in turn. The ID is in the key.
// The format has no version of its own: the version of the stream's head covers it.
//
//	+---------+----------+-------+----------+-------+----
//	| pairs   | n        | field | n        | value | …
//	| uvarint | uvarint  | n B   | uvarint  | n B   |
//	+---------+----------+-------+----------+-------+----

// rangeDeleteMin is the smallest number of adjacent records that one range tombstone
// deletes. Fewer records are deleted one by one, because every later iterator pays for
// each range tombstone. Point tombstones cost little: they lie before the first live
// entry, where no iterator starts.
const rangeDeleteMin = 1024

// appendEntry appends the value of an entry with these words: field, value, field, value …
func appendEntry(dst []byte, words [][]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(words)/2))
	for _, w := range words {
		dst = appendBytes(dst, w)
	}
	return dst
}

// entryWords returns the words of an entry's value. They share memory with raw.
func entryWords(raw []byte) ([][]byte, error) {
	r := recordReader{b: raw}
	pairs := r.uvarint()
	if pairs > uint64(len(raw)) {
		return nil, fmt.Errorf("stream: entry of %d bytes claims %d fields", len(raw), pairs)
	}
	words := make([][]byte, 0, 2*pairs)
	for range 2 * pairs {
		words = append(words, r.bytes())
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("stream: entry of %d bytes cannot be decoded", len(raw))
	}
	return words, nil
}

// entryElems returns the fields and values of raw as reply elements, after head empty
// elements that the caller fills. They share memory with raw.
func entryElems(raw []byte, head int) ([]resp.Value, error) {
	r := recordReader{b: raw}
	pairs := r.uvarint()
	if pairs > uint64(len(raw)) {
		return nil, fmt.Errorf("stream: entry of %d bytes claims %d fields", len(raw), pairs)
	}
	elems := make([]resp.Value, head, head+2*int(pairs))
	for range 2 * pairs {
		elems = append(elems, resp.Bulk(r.bytes()))
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("stream: entry of %d bytes cannot be decoded", len(raw))
	}
	return elems, nil
}

// entryValue returns the reply [id, [field, value, …]]. It copies raw.
func entryValue(id ID, raw []byte) (resp.Value, error) { return entryValueWith(id, raw, 0) }

// entryValueWith is entryValue with extra more elements after the fields: Elems[2:],
// which the caller fills.
func entryValueWith(id ID, raw []byte, extra int) (resp.Value, error) {
	// Two allocations: one for the text of the ID and the copy, one for all elements.
	buf := id.Append(make([]byte, 0, 41+len(raw)))
	n := len(buf)
	buf = append(buf, raw...)
	elems, err := entryElems(buf[n:], 2+extra)
	if err != nil {
		return resp.Value{}, fmt.Errorf("entry %v: %w", id, err)
	}
	elems[0] = resp.Bulk(buf[:n:n])
	elems[1] = resp.Array(elems[2+extra:]...)
	return resp.Array(elems[: 2+extra : 2+extra]...), nil
}

// idValue returns id as a bulk string.
func idValue(id ID) resp.Value { return resp.Bulk(id.Append(make([]byte, 0, 24))) }

// idArenaBytes is the size of one buffer of newID.
const idArenaBytes = 4096

// newID returns id as a bulk string. It writes the texts of many IDs into one buffer, so
// that XADD does not allocate for each. The buffer lives as long as any of the replies.
func (tx *Tx) newID(id ID) resp.Value {
	b := tx.state.idArena
	if cap(b)-len(b) < 41 {
		b = make([]byte, 0, idArenaBytes)
	}
	n := len(b)
	b = id.Append(b)
	tx.state.idArena = b
	return resp.Bulk(b[n:len(b):len(b)])
}

// getEntry returns the value of the entry id of h, and whether there is one.
func (tx *Tx) getEntry(h *Head, id ID) (raw []byte, ok bool, err error) {
	if h.Length == 0 || id.Less(h.First) || h.LastEntry.Less(id) {
		return nil, false, nil
	}
	raw, ok, err = tx.kv.Get(tx.idKey(h, kindEntry, id))
	if err != nil {
		return nil, false, fmt.Errorf("read entry %v of %q: %w", id, h.Name, err)
	}
	return raw, ok, nil
}

// putEntry adds an entry to the end of h, whose greatest ID is below id. size is the
// number of bytes of all words.
func (tx *Tx) putEntry(h *Head, id ID, words [][]byte, size uint64) error {
	tx.valueBuf = appendEntry(tx.valueBuf[:0], words)
	if err := tx.batch.Set(tx.idKey(h, kindEntry, id), tx.valueBuf); err != nil {
		return fmt.Errorf("put entry %v of %q: %w", id, h.Name, err)
	}
	if h.Length == 0 {
		h.First = id
	}
	h.Length++
	h.Added++
	h.Last, h.LastEntry = id, id
	tx.modified(h)
	return tx.appendChunk(h, id, words, size)
}

// unsettle marks First and LastEntry of h as bounds only, because an entry at one of the
// ends was deleted. For example, after 1-0 of 1-0, 2-0 and 3-0 was deleted, First may stay
// 1-0 until settle makes it 2-0.
func (tx *Tx) unsettle(h *Head) {
	if !h.unsettled {
		h.unsettled = true
		tx.unsettled = append(tx.unsettled, h)
	}
}

// settle makes First and LastEntry of h exact after deletions.
func (tx *Tx) settle(h *Head) error {
	if !h.unsettled || h.gone {
		return nil
	}
	h.unsettled = false
	if h.Length == 0 {
		h.First, h.LastEntry = ID{}, ID{}
		return nil
	}
	it, err := tx.entryIter(h, h.First, h.LastEntry)
	if err != nil {
		return err
	}
	ok := it.First()
	if ok {
		h.First = idOfKey(it.Key())
		if ok = it.Last(); ok {
			h.LastEntry = idOfKey(it.Key())
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("find the ends of %q: %w", h.Name, firstError(err, it.Close()))
	}
	if !ok {
		return firstError(it.Close(), fmt.Errorf("stream: %q counts %d entries and has none", h.Name, h.Length))
	}
	return it.Close()
}

// entryIter returns an iterator over the entries from from to to, both included. It
// narrows the bounds to the live entries, so that the iterator does not have to skip the
// tombstones of trimmed entries.
func (tx *Tx) entryIter(h *Head, from, to ID) (kv.Iterator, error) {
	if from.Less(h.First) {
		from = h.First
	}
	if h.LastEntry.Less(to) {
		to = h.LastEntry
	}
	it, err := tx.kv.Iter(tx.bounds(h, kindEntry, from, to))
	if err != nil {
		return nil, fmt.Errorf("iterate over entries of %q: %w", h.Name, err)
	}
	return it, nil
}

// eachEntry calls f on the entries of h from from to to, both included, in order or in
// reverse, until f returns false or an error. raw is valid only during the call. Each entry
// costs a unit.
func (tx *Tx) eachEntry(h *Head, from, to ID, reverse bool, f func(id ID, raw []byte) (bool, error)) error {
	return tx.walkEntries(h, from, to, reverse, func(id ID, raw []byte) (bool, error) {
		more, err := f(id, raw)
		if err == nil && more {
			err = tx.step(1)
		}
		return more, err
	})
}

// walkEntries is eachEntry, but costs nothing. A walk that fills a cache uses it, because a
// replica that has the cache already must spend as much.
func (tx *Tx) walkEntries(h *Head, from, to ID, reverse bool, f func(id ID, raw []byte) (bool, error)) (err error) {
	if h.Length == 0 || to.Less(from) || to.Less(h.First) || h.LastEntry.Less(from) {
		return nil
	}
	it, err := tx.entryIter(h, from, to)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, it.Close()) }()
	start, move := it.First, it.Next
	if reverse {
		start, move = it.Last, it.Prev
	}
	for ok := start(); ok; ok = move() {
		more, err := f(idOfKey(it.Key()), it.Value())
		if err != nil || !more {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("iterate over entries of %q: %w", h.Name, err)
	}
	return nil
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
