package stream

import (
	"encoding/binary"
	"fmt"
	"slices"

	"millrace/resp"
)

// The record of a field. seq rises with each field that is added to the hash, so that a
// small hash can be answered in the order in which its fields came to be, as in Redis. A
// field that is set again keeps its number.
//
//	+---------+-------------+-------+
//	| version | seq uvarint | value |
//	| u8 = 1  |             |       |
//	+---------+-------------+-------+
const fieldVersion = 1

func appendField(dst []byte, seq uint64, value []byte) []byte {
	return append(binary.AppendUvarint(append(dst, fieldVersion), seq), value...)
}

// decodeField returns the number and the value in the record of a field. value shares
// memory with it.
func decodeField(record []byte) (seq uint64, value []byte, err error) {
	r := recordReader{b: record}
	version := r.u8()
	seq = r.uvarint()
	if r.bad || version != fieldVersion {
		return 0, nil, fmt.Errorf("stream: the record of a field cannot be decoded: %x", record[:min(len(record), 16)])
	}
	return seq, r.b, nil
}

// sortFields puts the fields of a hash into the order in which they were added.
func sortFields(all []element) (err error) {
	slices.SortFunc(all, func(a, b element) int {
		x, _, e := decodeField(a.record)
		y, _, f := decodeField(b.record)
		err = firstError(err, e, f)
		if x < y {
			return -1
		}
		return 1
	})
	return err
}

// fieldValue returns the value of a field of h, and whether it is there. h may be nil.
func (tx *Tx) fieldValue(h *Head, field []byte) (value []byte, ok bool, err error) {
	_, value, ok, err = tx.field(h, field)
	return value, ok, err
}

func (tx *Tx) field(h *Head, field []byte) (seq uint64, value []byte, ok bool, err error) {
	if h == nil || len(field) > maxElementBytes {
		return 0, nil, false, nil
	}
	record, ok, err := tx.elementRecord(h, field)
	if err == nil && ok {
		seq, value, err = decodeField(record)
	}
	if err != nil {
		return 0, nil, false, fmt.Errorf("read the field %q of %q: %w", field, h.Name, err)
	}
	return seq, value, ok, nil
}

// putField sets a field of h, and reports whether it was not there.
func (tx *Tx) putField(h *Head, field, value []byte) (added bool, err error) {
	seq, ok := uint64(0), false
	if h.Length > 0 {
		if seq, _, ok, err = tx.field(h, field); err != nil {
			return false, err
		}
	}
	if !ok {
		h.Added++
		h.Length++
		seq = h.Added
	}
	h.grew(max(len(field), len(value)))
	tx.dirty(h)
	tx.valueBuf = appendField(tx.valueBuf[:0], seq, value)
	if err := tx.putElement(h, field, tx.valueBuf); err != nil {
		return false, fmt.Errorf("put the field %q of %q: %w", field, h.Name, err)
	}
	return !ok, nil
}

// checkFields refuses pairs of fields and values that are too many or too large.
func checkFields(argv [][]byte) *resp.Value {
	words := argv[2:]
	if refusal := checkElements(argv[1], words, 0, 2); refusal != nil {
		return refusal
	}
	for i := 1; i < len(words); i += 2 {
		if len(words[i]) > maxStringBytes {
			return &errStringTooLong
		}
	}
	return nil
}
