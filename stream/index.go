package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// The index of names. Each name has an index key from the moment it is registered until it
// is removed. The key is in the slot of the name, after all other keys of the slot's names.
// It has no value. Integers are big-endian.
//
//	 0      2        4      9      9+n
//	+------+--------+------+------+
//	| slot | 0xFFFE | hash | name |
//	| u16  | u16    | u40  | n B  |
//	+------+--------+------+------+
//
// SCAN, KEYS and RANDOMKEY walk this index. It orders names by slot and then by hash. Both
// are the same on every node and never change, so that a client can continue a SCAN at any
// node and after any change of leader. A SCAN cursor must be a number; otherwise the names
// themselves could be the order.

// place is a place in the order of the index: slot<<39 | hash. A walk may begin at any
// place, not only at one that has a name. Clients see places as cursors, and many keep
// numbers as doubles, which are exact up to 2^53: 14 bits of slot leave 39 for the hash.
type place uint64

const (
	hashBits = 39
	hashMask = 1<<hashBits - 1

	indexPrefixLen = 4
	indexHashLen   = (hashBits + 7) / 8
)

func (p place) slot() uint16 { return uint16(p >> hashBits) }
func (p place) hash() uint64 { return uint64(p) & hashMask }

// placeOf returns the place of a name. One step of a walk returns all names of a place, so
// the hash must be one for which nobody can construct many names with equal hashes.
func placeOf(name []byte) place {
	sum := sha256.Sum256(name)
	return place(kv.Slot(name))<<hashBits | place(binary.BigEndian.Uint64(sum[:])>>(64-hashBits))
}

// appendKey appends the common prefix of the index keys of all names at p. Keys of greater
// places are greater.
func (p place) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, p.slot())
	dst = binary.BigEndian.AppendUint16(dst, indexLen)
	dst = append(dst, byte(p.hash()>>32))
	return binary.BigEndian.AppendUint32(dst, uint32(p.hash()))
}

func indexKey(name []byte) []byte {
	return append(placeOf(name).appendKey(make([]byte, 0, indexPrefixLen+indexHashLen+len(name))), name...)
}

// parseIndexKey returns the place and the name in an index key. name shares memory with
// key.
func parseIndexKey(key []byte) (p place, name []byte, ok bool) {
	if len(key) < indexPrefixLen+indexHashLen || binary.BigEndian.Uint16(key[2:]) != indexLen {
		return 0, nil, false
	}
	p = place(binary.BigEndian.Uint16(key))<<hashBits | place(key[4])<<32 | place(binary.BigEndian.Uint32(key[5:]))
	return p, key[indexPrefixLen+indexHashLen:], true
}

// afterSlot returns the first place after slot. For the last slot it is endPlace.
func afterSlot(slot uint16) place { return place(slot)<<hashBits + 1<<hashBits }

// endPlace comes after the place of every name.
const endPlace place = kv.Slots << hashBits

// eachName calls f on the names from a place on, up to the end of the shard's slots, in
// order, until f returns false or an error. name is valid only during the call.
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
			// The index of a slot comes after its names and before the system keys.
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
		if err == nil && more {
			err = tx.step(1)
		}
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

// life returns the type of an indexed name, and whether the name is alive, that is, not
// past its deadline.
func (tx *Tx) life(name []byte) (t Type, alive bool, err error) {
	if tx.state != nil { // the head may only be in memory
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
		return 0, false, fmt.Errorf("stream: the index names %q, which does not exist", name)
	}
	t, expireAtMS, err := headLife(name, v)
	return t, err == nil && (expireAtMS == 0 || tx.NowMS < expireAtMS), err
}
