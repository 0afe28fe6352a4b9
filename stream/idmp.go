package stream

import "encoding/binary"

// idmpHead is what a head holds of a stream's idempotent producers.
type idmpHead struct {
	Seconds    uint64 // how long an idempotent ID is remembered
	MaxSize    uint64 // how many are, for each producer
	PIDs       uint64 // producers of which one is remembered
	IIDs       uint64 // idempotent IDs remembered
	Added      uint64 // ever
	Duplicates uint64 // entries that were not added because their ID was known
	NextSeq    uint64 // the number of the next idempotent ID: they are forgotten in order
}

func (m *idmpHead) append(dst []byte) []byte {
	for _, v := range [...]uint64{m.Seconds, m.MaxSize, m.PIDs, m.IIDs, m.Added, m.Duplicates, m.NextSeq} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func readIDMP(r *recordReader) (m idmpHead) {
	for _, v := range [...]*uint64{&m.Seconds, &m.MaxSize, &m.PIDs, &m.IIDs, &m.Added, &m.Duplicates, &m.NextSeq} {
		*v = r.uvarint()
	}
	return m
}
