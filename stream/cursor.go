package stream

import (
	"bytes"
	"fmt"
	"millrace/kv"
)

// cursor looks up records of one kind by their IDs. Along an index the IDs mostly rise,
// so that most look-ups cost one step of an iterator instead of a search. A cursor sees
// the records as they were at its first look-up.
type cursor struct {
	tx     *Tx
	bounds func() (lo, hi []byte)
	prefix []byte // of every key, up to the ID

	it  kv.Iterator // nil until the first look-up
	ok  bool        // whether it stands on a record
	key []byte      // of the latest look-up; reused
}

// cursorSteps is the number of steps that a cursor takes before it searches.
const cursorSteps = 4

// entryCursor returns a cursor over the entries of h. The caller closes it.
func (tx *Tx) entryCursor(h *Head) *cursor {
	prefix := append(append([]byte(nil), h.prefix...), kindEntry)
	return &cursor{tx: tx, prefix: prefix, bounds: func() (lo, hi []byte) {
		return h.First.appendBytes(bytes.Clone(prefix)), append(h.LastEntry.appendBytes(bytes.Clone(prefix)), 0)
	}}
}

// pendingCursor returns a cursor over the pending entries of g. The caller closes it.
func (tx *Tx) pendingCursor(h *Head, g *group) *cursor {
	prefix := appendGIDKey(nil, h.prefix, kindPending, g.gid)
	return &cursor{tx: tx, prefix: prefix, bounds: func() (lo, hi []byte) { return pendingBounds(h, g, ID{}, MaxID) }}
}

// get returns the value at id, and whether there is one. The value is valid until the
// next look-up.
func (c *cursor) get(id ID) ([]byte, bool, error) {
	c.key = id.appendBytes(append(c.key[:0], c.prefix...))
	if c.it == nil {
		lo, hi := c.bounds()
		it, err := c.tx.kv.Iter(lo, hi)
		if err != nil {
			return nil, false, fmt.Errorf("look up %s: %w", PrintKey(c.key), err)
		}
		c.it = it
	}
	at := -1 // the iterator's key compared with the wanted one
	for range cursorSteps {
		if !c.ok {
			break
		}
		if at = bytes.Compare(c.it.Key(), c.key); at >= 0 {
			break
		}
		c.ok = c.it.Next()
	}
	if !c.ok || at != 0 {
		c.ok = c.it.SeekGE(c.key)
	}
	if c.ok && bytes.Equal(c.it.Key(), c.key) {
		return c.it.Value(), true, nil
	}
	if err := c.it.Error(); err != nil {
		return nil, false, fmt.Errorf("look up %s: %w", PrintKey(c.key), err)
	}
	return nil, false, nil
}

func (c *cursor) close() error {
	if c.it == nil {
		return nil
	}
	return c.it.Close()
}

// indexed returns the pending entry id. An index of the group has a key for it, so it is
// an error when the entry does not exist.
func (c *cursor) indexed(id ID) (pendingEntry, error) {
	v, ok, err := c.get(id)
	if err != nil {
		return pendingEntry{}, err
	}
	if !ok {
		return pendingEntry{}, fmt.Errorf("stream: an index names %s, which does not exist", PrintKey(c.key))
	}
	return decodePending(v)
}
