package kv

import "encoding/binary"

// Slots is the number of hash slots, as in Redis Cluster.
const Slots = 16384

// SystemLen stands in a system key where other keys have the length of their name. No
// name is that long, so a system key never equals the key of a name.
const SystemLen = 0xFFFF

// System key tags: who keeps what under SystemKey.
const (
	SystemApplied = 'a' // package shard: applied index and clock
	SystemState   = 's' // package stream: see system.go
	SystemExpiry  = 'x' // package stream: the deadlines of names, in order; see expiry.go
)

// SystemKey returns the key of a shard's own record; firstSlot is the first of its run.
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
