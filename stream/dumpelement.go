package stream

import (
	"bytes"
	"errors"
	"fmt"

	"millrace/resp"
	"millrace/stream/rdb"
)

var (
	errFieldTTL = resp.Err("ERR a field of the hash has a time to live, which Millrace does not keep")
	// errRestoreElements bounds the work of a RESTORE, whose payload may be far smaller
	// than the records that it becomes.
	errRestoreElements = resp.Err(fmt.Sprintf("ERR the value has more than %d elements, too many for one RESTORE", maxRestoreElements))
)

const maxRestoreElements = copyMaxRecords / 2

// dumpElements returns the reply of DUMP for a hash or a sorted set.
func (tx *Tx) dumpElements(h *Head) (v resp.Value, err error) {
	budget := tx.dumpBudget(h.Name)
	var fields []rdb.Field
	var members []rdb.Member
	var refusal *resp.Value
	if h.Type == TypeHash {
		refusal, err = tx.inOrder(h, func(name, record []byte) (bool, error) {
			_, value, err := decodeField(record)
			fields = append(fields, rdb.Field{Name: bytes.Clone(name), Value: bytes.Clone(value)})
			return true, firstError(err, budget.Element(name, len(value)))
		})
	} else {
		refusal, err = tx.eachMember(h, scoreRange{}, false, func(score float64, member []byte) (bool, error) {
			members = append(members, rdb.Member{Name: bytes.Clone(member), Score: score, Text: resp.AppendDouble(nil, score)})
			return true, budget.Element(member, 0)
		})
	}
	switch {
	case errors.Is(err, rdb.ErrTooLarge):
		return refused(tx.tooLarge(&errDumpTooLarge))
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h.Type == TypeHash:
		return resp.Bulk(rdb.EncodeHash(fields, !h.Elements.Large)), nil
	}
	return resp.Bulk(rdb.EncodeZSet(members, !h.Elements.Large)), nil
}

// checkRestored refuses hashes and sorted sets that commands could not have made, or that
// are too many records for one step.
func checkRestored(v *rdb.Value) *resp.Value {
	if len(v.Hash)+len(v.ZSet) > maxRestoreElements {
		return &errRestoreElements
	}
	for _, f := range v.Hash {
		if len(f.Name) > maxElementBytes {
			return &errElementTooLong
		}
		if len(f.Value) > maxStringBytes {
			return &errStringTooLong
		}
	}
	for _, m := range v.ZSet {
		if len(m.Name) > maxElementBytes {
			return &errElementTooLong
		}
	}
	return nil
}

// restoreHash makes a hash at name, where there is nothing, which goes away at expireAtMS;
// zero is never.
func (tx *Tx) restoreHash(name []byte, fields []rdb.Field, expireAtMS int64) error {
	h := newElementsHead(name, TypeHash)
	if err := tx.register(h); err != nil {
		return err
	}
	for _, f := range fields { // no two have one name
		h.Added++
		h.Length++
		h.grew(max(len(f.Name), len(f.Value)))
		tx.valueBuf = appendField(tx.valueBuf[:0], h.Added, f.Value)
		if err := tx.batch.Set(tx.elementKey(h, f.Name), tx.valueBuf); err != nil {
			return fmt.Errorf("put the field %q: %w", f.Name, err)
		}
	}
	return tx.setDeadline(h, expireAtMS)
}

// restoreZSet is restoreHash for a sorted set.
func (tx *Tx) restoreZSet(name []byte, members []rdb.Member, expireAtMS int64) error {
	h := newElementsHead(name, TypeZSet)
	if err := tx.register(h); err != nil {
		return err
	}
	for _, m := range members {
		if err := tx.putMember(h, m.Name, m.Score, 0, false); err != nil {
			return err
		}
	}
	return tx.setDeadline(h, expireAtMS)
}
