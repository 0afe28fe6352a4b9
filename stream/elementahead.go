package stream

import (
	"bytes"
	"fmt"
	"slices"

	"millrace/resp"
)

// lookahead holds the records of the elements that a command names. A command with many
// names would otherwise search the space from the top for each of them; one iterator in the
// order of the keys finds them in a third of the time.
type lookahead struct {
	h       *Head
	records map[string][]byte // by name; nil: there is none
}

const (
	// lookaheadMin is the number of names from which on a lookahead pays.
	lookaheadMin = 16
	// maxLookBytes bounds the records that a command looks up: it names a field in a few
	// bytes, and the value may have megabytes.
	maxLookBytes = 64 << 20
)

var errLookBytes = resp.Err("ERR the fields that the command names hold more than 64 MiB; name fewer at a time")

// lookAhead reads the records of elements of h that a command is going to ask for: every
// step-th of words, from the first on. The caller ends it with endLookahead.
func (tx *Tx) lookAhead(h *Head, words [][]byte, step int) (*resp.Value, error) {
	if h == nil || h.Length == 0 || len(words) < lookaheadMin*step {
		return nil, nil
	}
	keys := make([][]byte, 0, len(words)/step)
	for i := 0; i < len(words); i += step {
		keys = append(keys, bytes.Clone(tx.elementKey(h, words[i])))
	}
	slices.SortFunc(keys, bytes.Compare)
	lo := append(slices.Clip(h.prefix), h.elementKind())
	it, err := tx.kv.Iter(lo, after(lo))
	if err != nil {
		return nil, fmt.Errorf("look up elements of %q: %w", h.Name, err)
	}
	size := 0
	records := make(map[string][]byte, len(keys))
	for _, key := range keys {
		var record []byte
		if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
			record = bytes.Clone(it.Value())
		}
		if size += len(record); size > maxLookBytes {
			return &errLookBytes, it.Close()
		}
		records[string(key[len(lo)+elementHashLen:])] = record
	}
	if err := firstError(it.Error(), it.Close()); err != nil {
		return nil, fmt.Errorf("look up elements of %q: %w", h.Name, err)
	}
	tx.ahead = lookahead{h, records}
	return nil, nil
}

func (tx *Tx) endLookahead() { tx.ahead = lookahead{} }

// elementRecord returns the record of an element of h, and whether it is there.
func (tx *Tx) elementRecord(h *Head, name []byte) (record []byte, ok bool, err error) {
	if tx.ahead.h == h && h != nil {
		if record, known := tx.ahead.records[string(name)]; known {
			return record, record != nil, nil
		}
	}
	return tx.kv.Get(tx.elementKey(h, name))
}

// putElement writes the record of an element of h.
func (tx *Tx) putElement(h *Head, name, record []byte) error {
	if tx.ahead.h == h {
		tx.ahead.records[string(name)] = bytes.Clone(record)
	}
	return tx.batch.Set(tx.elementKey(h, name), record)
}

// deleteElement deletes the record of an element of h.
func (tx *Tx) deleteElement(h *Head, name []byte) error {
	if tx.ahead.h == h {
		tx.ahead.records[string(name)] = nil
	}
	return tx.batch.Delete(tx.elementKey(h, name))
}
