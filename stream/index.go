package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// The index of names. Each name has a key here from the moment it is registered until
// it is removed, in its own slot and behind all that the slot's names hold. There is no
// value. Integers are big-endian.
//
//	 0      2        4      10     10+n
//	+------+--------+------+------+
//	| slot | 0xFFFE | hash | name |
//	| u16  | u16    | u48  | n B  |
//	+------+--------+------+------+
//
// SCAN, KEYS and RANDOMKEY walk this index. It orders names by slot and then by hash,
// which are the same on every node and for ever: so a place in the order is a number
// that a client can come back with, to any node and after any change of leadership.
// The names themselves would be a better order but for that: a cursor is a number.

// place is a place in the order of the index: slot<<48 | hash. It is where a name's
// hash stands, or where a walk goes on.
type place uint64

const (
	hashBits = 48
	hashMask = 1<<hashBits - 1

	indexPrefixLen = 4
	indexHashLen   = hashBits / 8
)

func (p place) slot() uint16 { return uint16(p >> hashBits) }
func (p place) hash() uint64 { return uint64(p) & hashMask }

// placeOf returns the place of a name. Names that share one are given out in one step
// of a walk, so the hash is one for which nobody can make many of those.
func placeOf(name []byte) place {
	sum := sha256.Sum256(name)
	return place(kv.Slot(name))<<hashBits | place(binary.BigEndian.Uint64(sum[:])>>(64-hashBits))
}

// appendKey appends what the index keys of all names at p start with. Keys of greater
// places are greater.
func (p place) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, p.slot())
	dst = binary.BigEndian.AppendUint16(dst, indexLen)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.hash()>>32))
	return binary.BigEndian.AppendUint32(dst, uint32(p.hash()))
}

func indexKey(name []byte) []byte {
	return append(placeOf(name).appendKey(make([]byte, 0, indexPrefixLen+indexHashLen+len(name))), name...)
}

// parseIndexKey takes an index key apart. The name is a part of key.
func parseIndexKey(key []byte) (p place, name []byte, ok bool) {
	if len(key) < indexPrefixLen+indexHashLen || binary.BigEndian.Uint16(key[2:]) != indexLen {
		return 0, nil, false
	}
	p = place(binary.BigEndian.Uint16(key))<<hashBits | place(binary.BigEndian.Uint16(key[4:]))<<32 | place(binary.BigEndian.Uint32(key[6:]))
	return p, key[indexPrefixLen+indexHashLen:], true
}

// afterSlot returns the first place behind slot; past the last slot it is the end.
func afterSlot(slot uint16) place { return place(slot)<<hashBits + 1<<hashBits }

// endPlace is behind every place.
const endPlace place = kv.Slots << hashBits

// eachName calls f on the index from a place on, up to the end of the shard's slots,
// in order, until f returns false or an error. name is valid during the call only.
func (tx *Tx) eachName(from place, f func(p place, name []byte) (bool, error)) (err error) {
	lo := from.appendKey(nil)
	first, hi := kv.SlotBounds(tx.firstSlot, tx.lastSlot)
	if string(lo) < string(first) {
		lo = first
	}
	if string(lo) >= string(hi) {
		return nil
	}
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return fmt.Errorf("iterate over the index of names: %w", err)
	}
	defer func() { err = firstError(err, it.Close()) }()
	ok := it.First()
	for ok {
		key := it.Key()
		if n := binary.BigEndian.Uint16(key[2:]); n != indexLen {
			// A slot's names come before its index, the shard's own records after it.
			slot := binary.BigEndian.Uint16(key)
			if n == kv.SystemLen {
				_, next := kv.SlotBounds(slot, slot)
				ok = it.SeekGE(next)
			} else {
				ok = it.SeekGE((place(slot) << hashBits).appendKey(nil))
			}
			continue
		}
		p, name, valid := parseIndexKey(key)
		if !valid {
			return fmt.Errorf("stream: %s is not an index key", PrintKey(key))
		}
		more, err := f(p, name)
		if err != nil || !more {
			return err
		}
		ok = it.Next()
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("iterate over the index of names: %w", err)
	}
	return nil
}

// life returns the type of what an indexed name holds, and whether it has not expired.
func (tx *Tx) life(name []byte) (t Type, alive bool, err error) {
	if tx.state != nil { // its head may not be written yet
		h, err := tx.head(name)
		if err != nil || h == nil {
			return 0, false, err
		}
		return h.Type, true, nil
	}
	v, ok, err := tx.kv.Get(headKey(name))
	if err != nil {
		return 0, false, fmt.Errorf("read head of %q: %w", name, err)
	}
	if !ok {
		return 0, false, fmt.Errorf("stream: the index names %q, which is not there", name)
	}
	t, expireAtMS, err := headLife(name, v)
	return t, err == nil && (expireAtMS == 0 || tx.NowMS < expireAtMS), err
}
