package stream_test

import (
	"maps"
	"slices"
	"strings"

	"millrace/kv"
	"millrace/stream"
)

// memKV is a key space in a sorted slice. Unlike a Pebble database it costs almost nothing to
// create, which suits fuzzing. It writes at once: it is the state and the batch in one.
type memKV struct {
	keys   []string
	values map[string][]byte
	saved  *memKV // at the last mark
}

func newMemKV() *memKV { return &memKV{values: make(map[string][]byte)} }

func (m *memKV) Get(key []byte) ([]byte, bool, error) {
	v, ok := m.values[string(key)]
	return slices.Clone(v), ok, nil
}

func (m *memKV) Set(key, value []byte) error {
	if i, ok := slices.BinarySearch(m.keys, string(key)); !ok {
		m.keys = slices.Insert(m.keys, i, string(key))
	}
	m.values[string(key)] = append([]byte{}, value...)
	return nil
}

func (m *memKV) Delete(key []byte) error {
	if i, ok := slices.BinarySearch(m.keys, string(key)); ok {
		m.keys = slices.Delete(m.keys, i, i+1)
		delete(m.values, string(key))
	}
	return nil
}

func (m *memKV) DeleteRange(lo, hi []byte) error {
	for _, k := range m.span(lo, hi) {
		if err := m.Delete([]byte(k)); err != nil {
			return err
		}
	}
	return nil
}

// span returns a copy of the keys in [lo, hi).
func (m *memKV) span(lo, hi []byte) []string {
	i, _ := slices.BinarySearch(m.keys, string(lo))
	j, _ := slices.BinarySearch(m.keys, string(hi))
	return slices.Clone(m.keys[i:max(i, j)])
}

// Iter returns an iterator over the current keys. As in Pebble, it does not show later
// writes.
func (m *memKV) Iter(lo, hi []byte) (kv.Iterator, error) {
	it := &memIter{keys: m.span(lo, hi), at: -1}
	for _, k := range it.keys {
		it.values = append(it.values, m.values[k])
	}
	return it, nil
}

type memIter struct {
	keys   []string
	values [][]byte
	at     int
}

func (it *memIter) to(i int) bool { it.at = i; return it.Valid() }

func (it *memIter) First() bool { return it.to(0) }
func (it *memIter) Last() bool  { return it.to(len(it.keys) - 1) }
func (it *memIter) Next() bool  { return it.to(it.at + 1) }
func (it *memIter) Prev() bool  { return it.to(it.at - 1) }

func (it *memIter) SeekGE(key []byte) bool {
	i, _ := slices.BinarySearch(it.keys, string(key))
	return it.to(i)
}

func (it *memIter) SeekLT(key []byte) bool {
	i, _ := slices.BinarySearch(it.keys, string(key))
	return it.to(i - 1)
}

func (it *memIter) Valid() bool   { return it.at >= 0 && it.at < len(it.keys) }
func (it *memIter) Key() []byte   { return []byte(it.keys[it.at]) }
func (it *memIter) Value() []byte { return it.values[it.at] }
func (it *memIter) Error() error  { return nil }
func (it *memIter) Close() error  { return nil }

// print returns all records as text.
func (m *memKV) print() string {
	var b strings.Builder
	for _, k := range m.keys {
		b.WriteString(stream.PrintRecord([]byte(k), m.values[k]) + "\n")
	}
	return b.String()
}

// Mark keeps a copy for Undo, which goes back to the last mark only.
func (m *memKV) Mark() kv.Mark {
	m.saved = &memKV{keys: slices.Clone(m.keys), values: maps.Clone(m.values)}
	return kv.Mark{}
}

func (m *memKV) Undo(kv.Mark) error {
	m.keys, m.values = m.saved.keys, m.saved.values
	return nil
}
