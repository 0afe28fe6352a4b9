// Package pebblekv implements the ordered key space of package kv on Pebble.
package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"millrace/kv"
)

// Reader reads a Pebble snapshot, database or indexed batch.
type Reader struct {
	R pebble.Reader
}

// Get implements kv.Reader.
func (r Reader) Get(key []byte) ([]byte, bool, error) {
	v, closer, err := r.R.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, true, closer.Close()
}

// Iter implements kv.Reader.
func (r Reader) Iter(lo, hi []byte) (kv.Iterator, error) {
	it, err := r.R.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// Batch writes an indexed Pebble batch, and reads through it.
type Batch struct {
	Reader
	B *pebble.Batch
}

// NewBatch wraps b, which must be indexed.
func NewBatch(b *pebble.Batch) Batch { return Batch{Reader{b}, b} }

// Set implements kv.Batch.
func (b Batch) Set(key, value []byte) error { return b.B.Set(key, value, nil) }

// Delete implements kv.Batch.
func (b Batch) Delete(key []byte) error { return b.B.Delete(key, nil) }

// DeleteRange implements kv.Batch.
func (b Batch) DeleteRange(lo, hi []byte) error { return b.B.DeleteRange(lo, hi, nil) }

// Mark implements kv.Batch.
func (b Batch) Mark() kv.Mark { return kv.Mark{Bytes: b.B.Len(), Count: b.B.Count()} }

// countOffset is the place of the number of writes, a little-endian u32, in the encoding of
// a batch; see batchrepr.Header.
const countOffset = 8

// Undo implements kv.Batch. It builds the batch again from the writes before m, because
// Pebble cannot cut the index of a batch.
func (b Batch) Undo(m kv.Mark) error {
	kept := append([]byte(nil), b.B.Repr()[:m.Bytes]...)
	b.B.Reset()
	if m.Bytes <= batchrepr.HeaderLen {
		return nil
	}
	binary.LittleEndian.PutUint32(kept[countOffset:], m.Count)
	var before pebble.Batch
	if err := before.SetRepr(kept); err != nil {
		return fmt.Errorf("undo writes of a batch: %w", err)
	}
	if err := b.B.Apply(&before, nil); err != nil {
		return fmt.Errorf("undo writes of a batch: %w", err)
	}
	return nil
}
