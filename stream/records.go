package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// writeOut writes the head of h and its changed groups and consumers into the batch, so
// that a scan of the records finds them. In a read nothing is only in memory.
func (tx *Tx) writeOut(h *Head) (err error) {
	if tx.state == nil {
		return nil
	}
	if tx.state.flushBuf, err = h.flush(tx.batch, tx.state.flushBuf); err != nil {
		return fmt.Errorf("write the head of %q: %w", h.Name, err)
	}
	return nil
}

// eachRecord calls f on all records under h's name except the head, in no particular order,
// until f returns false or an error. key and value are valid only during the call. The
// caller calls writeOut before.
//
// It scans only ranges that begin and end with a live record. A scan of all keys of the
// name might have to skip millions of tombstones of trimmed and acknowledged entries.
func (tx *Tx) eachRecord(h *Head, f func(key, value []byte) (bool, error)) error {
	more := true
	span := func(lo, hi []byte) error {
		if !more {
			return nil
		}
		return tx.scan(lo, hi, func(key, value []byte) (_ bool, err error) {
			more, err = f(key, value)
			if err == nil && more {
				err = tx.step(1)
			}
			return more, err
		})
	}
	// A record of a group may have thousands of old versions. A look-up by key does not
	// cross them, as an iterator would.
	one := func(key []byte) error {
		if !more {
			return nil
		}
		value, ok, err := tx.kv.Get(key)
		if err == nil && ok {
			more, err = f(key, value)
		}
		return err
	}
	switch h.Type {
	case TypeString:
		return one(kindKey(h.Name, kindValue))
	case TypeHash, TypeZSet:
		return h.elementRecords(span)
	}
	if h.Length > 0 {
		if err := span(h.idSpan(kindEntry, h.First, h.LastEntry)); err != nil {
			return err
		}
	}
	if h.Chunks > 1 {
		front, err := tx.frontChunk(h)
		if err == nil {
			err = span(h.idSpan(kindChunk, front.First, h.Tail.First))
		}
		if err != nil {
			return err
		}
	}
	groups, err := tx.listGroups(h)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := tx.groupSpans(h, g, one, span); err != nil || !more {
			return err
		}
	}
	if h.IDMP.IIDs > 0 && more {
		return tx.iidRecords(h, one, func() bool { return more })
	}
	return nil
}

// idSpan returns the range [lo, hi) of the keys of a kind from one ID to another, both
// included.
func (h *Head) idSpan(kind byte, from, to ID) (lo, hi []byte) {
	prefix := append(slices.Clip(h.prefix), kind)
	return from.appendBytes(prefix), append(to.appendBytes(slices.Clip(prefix)), 0)
}

// groupSpans calls one on single keys of g's records, and span on ranges of them.
func (tx *Tx) groupSpans(h *Head, g *group, one func(key []byte) error, span func(lo, hi []byte) error) error {
	if err := one(appendGroupKey(nil, h.prefix, g.name)); err != nil {
		return err
	}
	if g.consumers > 0 {
		members, err := tx.listConsumers(h, g)
		if err != nil {
			return err
		}
		for _, c := range members {
			err := firstError(
				one(appendConsumerNameKey(nil, h.prefix, g.gid, c.name)),
				one(appendConsumerKey(nil, h.prefix, g.gid, c.cid)))
			if err == nil && c.pending > 0 {
				err = span(ownedBounds(h, g, c, ID{}, MaxID))
			}
			if err != nil {
				return err
			}
		}
	}
	for _, l := range g.leftovers {
		if err := span(ownedSpan(h, g, l.cid, l.from, g.maxPending)); err != nil {
			return err
		}
	}
	if g.pending+uint64(len(g.leftovers)) == 0 {
		return nil
	}
	return firstError(span(pendingBounds(h, g, ID{}, MaxID)), span(dueBounds(h, g, math.MaxUint64)))
}

// iidRecords calls one on the key of each record about idempotent IDs, the oldest first,
// while more returns true.
func (tx *Tx) iidRecords(h *Head, one func(key []byte) error, more func() bool) error {
	producers := make(map[string]bool)
	return tx.scan(h.iidAgeKey(h.IDMP.OldestSeq), h.iidAgeKey(h.IDMP.NextSeq), func(key, value []byte) (bool, error) {
		r := recordReader{b: value}
		_, pid, iid := r.varint(), r.bytes(), r.bytes()
		if err := r.err("age of an idempotent ID", h.Name); err != nil {
			return false, err
		}
		seq := binary.BigEndian.Uint64(key[len(key)-8:])
		err := firstError(one(h.iidAgeKey(seq)), one(h.iidKey(pid, iid)), one(h.iidOrderKey(pid, seq)))
		if err == nil && !producers[string(pid)] {
			producers[string(pid)] = true
			err = one(h.producerKey(pid))
		}
		if err != nil {
			return false, fmt.Errorf("idempotent IDs of %q: %w", h.Name, err)
		}
		return more(), nil
	})
}
