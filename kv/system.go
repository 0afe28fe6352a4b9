package kv

import "encoding/binary"

// Slots is the number of hash slots, as in Redis Cluster.
const Slots = 16384

// A system key belongs to a shard itself, not to a name. Integers are big-endian.
//
//	 0      2        4     5
//	+------+--------+-----+------+
//	| slot | 0xFFFF | tag | rest |
//	| u16  | u16    | u8  |      |
//	+------+--------+-----+------+
//
// slot is the first slot of the shard, so that the key lies in the shard's range. Only keys
// with the tags SystemExpiry and SystemCleanup have a rest: package stream draws it.

// SystemLen is the u16 in a system key at the place of a name's length in other keys. No
// name is that long, so a system key never equals the key of a name.
const SystemLen = 0xFFFF

// The tags of system keys.
const (
	SystemApplied = 'a' // package shard: the applied index and the shard's time
	SystemState   = 's' // package stream: counts and settings; see system.go there
	SystemCleanup = 'c' // package stream: groups with leftovers; see leftovers.go there
	SystemExpiry  = 'x' // package stream: the deadlines of names, in order; see expiry.go there
)

// SystemKey returns the system key with this tag, without a rest. firstSlot is the first
// slot of the shard.
func SystemKey(firstSlot uint16, tag byte) []byte {
	k := make([]byte, 0, 5)
	k = binary.BigEndian.AppendUint16(k, firstSlot)
	k = binary.BigEndian.AppendUint16(k, SystemLen)
	return append(k, tag)
}

// SlotBounds returns the range [lo, hi) of all keys of the slots first to last.
func SlotBounds(first, last uint16) (lo, hi []byte) {
	return binary.BigEndian.AppendUint16(nil, first), binary.BigEndian.AppendUint16(nil, last+1)
}
