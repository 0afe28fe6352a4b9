package raftlog

import (
	"encoding/binary"
	"math"
)

// The key space. Integers are big-endian, so byte order is shard and index order.
//
//	+------+----------+
//	| 0x00 | "format" |                       version of all that follows, u32
//	+------+----------+
//
//	 0      1       5      6
//	+------+-------+------+----------+
//	| 0x01 | shard | kind | …        |
//	|      | u32   | u8   |          |
//	+------+-------+------+----------+
//
//	kind  rest of the key   value
//	'f'                     floor: no record below this index is live, u64
//	'm'                     marker of the newest snapshot (marker.go)
//	'r'   index u64         record: one item of the log (record.go)
//	's'   name              a value of Raft's stable store, under Raft's name for it
//	'v'                     vote: term and candidate in one value (vote.go)
//
// format leads the key space, because it is read before anything else is trusted.
// shard leads kind, so that a shard is one run of keys and one range delete removes it.
// The vote is one value, so that half a vote is never on disk.
// A search for the first record starts at the floor. The records below the floor are
// deleted, but a search from index 0 would still have to step over their tombstones.
// For example, after records 1 to 400 were trimmed, the floor is 401.
const (
	leadFormat = 0x00
	leadShard  = 0x01

	kindFloor  = 'f'
	kindMarker = 'm'
	kindRecord = 'r'
	kindStable = 's'
	kindVote   = 'v'

	prefixLen    = 6 // lead, shard, kind
	recordKeyLen = prefixLen + 8
)

var formatKey = []byte{leadFormat, 'f', 'o', 'r', 'm', 'a', 't'}

// appendPrefix appends the first bytes of every key of one kind of a shard.
func appendPrefix(dst []byte, shard uint32, kind byte) []byte {
	dst = append(dst, leadShard)
	dst = binary.BigEndian.AppendUint32(dst, shard)
	return append(dst, kind)
}

func putRecordKey(dst []byte, shard uint32, index uint64) {
	_ = dst[recordKeyLen-1]
	dst[0] = leadShard
	binary.BigEndian.PutUint32(dst[1:], shard)
	dst[5] = kindRecord
	binary.BigEndian.PutUint64(dst[prefixLen:], index)
}

func recordKey(shard uint32, index uint64) []byte {
	k := make([]byte, recordKeyLen)
	putRecordKey(k, shard, index)
	return k
}

// recordKeyAfter returns the exclusive end of a range that includes index.
func recordKeyAfter(shard uint32, index uint64) []byte {
	if index == math.MaxUint64 {
		return recordsEnd(shard)
	}
	return recordKey(shard, index+1)
}

func recordsEnd(shard uint32) []byte { return appendPrefix(nil, shard, kindRecord+1) }

func shardStart(shard uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{leadShard}, shard)
}

func shardEnd(shard uint32) []byte {
	if shard == math.MaxUint32 {
		return []byte{leadShard + 1}
	}
	return shardStart(shard + 1)
}

// splitKey splits a shard's key into its fields. ok is false for any other key.
func splitKey(key []byte) (shard uint32, kind byte, rest []byte, ok bool) {
	if len(key) < prefixLen || key[0] != leadShard {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(key[1:]), key[5], key[prefixLen:], true
}
