package stream

import (
	"encoding/binary"
	"fmt"
	"math"
)

// writeOut writes what h and its groups keep in memory, so that it is found where the
// other records are. In a read there is no such thing.
func (tx *Tx) writeOut(h *Head) (err error) {
	if tx.state == nil {
		return nil
	}
	if tx.state.flushBuf, err = h.flush(tx.batch, tx.state.flushBuf); err != nil {
		return fmt.Errorf("write the head of %q: %w", h.Name, err)
	}
	return nil
}

// eachRecord calls f on the records under h's name, the head apart, in no order that
// matters, until it returns false or an error. key and value are valid during the
// call only. writeOut comes before it.
//
// It starts and ends where something lives: what was trimmed or acknowledged may be
// millions of tombstones, which a walk over all keys of the name would crawl over.
func (tx *Tx) eachRecord(h *Head, f func(key, value []byte) (bool, error)) error {
	more := true
	span := func(lo, hi []byte) error {
		if !more {
			return nil
		}
		return tx.scan(lo, hi, func(key, value []byte) (_ bool, err error) {
			more, err = f(key, value)
			return more, err
		})
	}
	// Asked for by its key: a record of a group may have been written again and again, and
	// an iterator would pass all its versions.
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
	if h.Type == TypeString {
		return one(kindKey(h.Name, kindValue))
	}
	kind := func(kind byte, from, to ID) error {
		prefix := append(h.prefix[:len(h.prefix):len(h.prefix)], kind)
		return span(from.appendBytes(prefix), append(to.appendBytes(prefix[:len(prefix):len(prefix)]), 0))
	}
	if h.Length > 0 {
		if err := kind(kindEntry, h.First, h.LastEntry); err != nil {
			return err
		}
	}
	if h.Chunks > 1 {
		front, err := tx.frontChunk(h)
		if err == nil {
			err = kind(kindChunk, front.First, h.Tail.First)
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

// groupSpans calls one for single records of g, and span for runs of them.
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
	if g.pending == 0 {
		return nil
	}
	return firstError(span(pendingBounds(h, g, ID{}, MaxID)), span(dueBounds(h, g, math.MaxUint64)))
}

// iidRecords calls one for each record of idempotent IDs, going by those that order
// them by age, while more says so.
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
