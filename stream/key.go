package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// A key of the state. Integers are big-endian, so byte order is ID order.
//
//	 0      2      4      4+n    5+n
//	+------+------+------+------+----------------------------------------------+
//	| slot | n    | name | kind | rest                                         |
//	| u16  | u16  | n B  | u8   |                                              |
//	+------+------+------+------+----------------------------------------------+
//	                       'a'    –                              head
//	                       'v'    –                              value of a string
//	                       'e'    ms u64, seq u64                entry
//	                       'n'    ms u64, seq u64                chunk: a run of entries
//	                       'g'    group name                     group
//	                       'i'    gid u64, consumer name         consumer's number
//	                       'c'    gid u64, cid u64               consumer
//	                       'p'    gid u64, ms u64, seq u64       pending entry
//	                       'q'    gid u64, cid u64, ms, seq      pending by consumer
//	                       't'    gid u64, due u64, ms, seq      pending by order of claims
//
// slot leads name: a slot is one run of keys, which a move copies in one scan.
// n leads name: no name is a prefix of another, so "ab" never reads "abc". The head
// comes first, so that a scan over names seeks from head to head. gid and cid are
// numbers given to groups and consumers when they are made, never used again: a
// destroyed group's leavings cannot be taken for a new one's. due is the place in the
// order of claims: pendingEntry.due.
//
// A system key belongs to the shard itself: slot is the shard's first, n is 0xFFFF,
// which no name has, and one byte of tag follows. An index key stands for a name in
// the order in which SCAN walks; n is 0xFFFE: index.go draws it. A deadline is a system
// key that goes on:
//
//	 0      2        4      5               13
//	+------+--------+------+---------------+------+
//	| slot | 0xFFFF | 'x'  | expireAtMS u64 | name |
//	+------+--------+------+---------------+------+
const (
	kindHead     = 'a'
	kindValue    = 'v'
	kindEntry    = 'e'
	kindChunk    = 'n'
	kindGroup    = 'g'
	kindName     = 'i'
	kindConsumer = 'c'
	kindPending  = 'p'
	kindOwned    = 'q'
	kindDue      = 't'
	kindIID      = 'd'
	kindIIDOrder = 'f'
	kindIIDAge   = 'w'
	kindProducer = 'u'

	// MaxKeyLen bounds the name of a key, in bytes. The lengths above it mark keys that
	// are no name's.
	MaxKeyLen = indexLen - 1

	indexLen = 0xFFFE
)

// deadlineKey returns the key that says that name goes away at atMS.
func deadlineKey(firstSlot uint16, atMS int64, name []byte) []byte {
	k := append(make([]byte, 0, deadlineHead+len(name)), kv.SystemKey(firstSlot, kv.SystemExpiry)...)
	return append(binary.BigEndian.AppendUint64(k, uint64(atMS)), name...)
}

// deadlineHead is what stands before the name in the key of a deadline, in bytes.
const deadlineHead = 13

// deadlineBounds returns the range [lo, hi) of the keys of all deadlines from fromMS on.
func deadlineBounds(firstSlot uint16, fromMS int64) (lo, hi []byte) {
	return deadlineKey(firstSlot, fromMS, nil), kv.SystemKey(firstSlot, kv.SystemExpiry+1)
}

// deadlineOfKey returns what stands in the key of a deadline. name shares memory with it.
func deadlineOfKey(key []byte) (atMS int64, name []byte) {
	return int64(binary.BigEndian.Uint64(key[deadlineHead-8:])), key[deadlineHead:]
}

// appendName appends slot, length and name: the prefix of all keys of one name.
func appendName(dst, name []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kv.Slot(name))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(name)))
	return append(dst, name...)
}

// nameBounds returns the range [lo, hi) of all keys of one name.
func nameBounds(name []byte) (lo, hi []byte) {
	lo = appendName(make([]byte, 0, 5+len(name)), name)
	hi = append(append(make([]byte, 0, len(lo)+1), lo...), 0xFF)
	return lo, hi
}

// kindKey returns name's prefix followed by kind, with room for more bytes.
func kindKey(name []byte, kind byte) []byte {
	return append(appendName(make([]byte, 0, 5+len(name)+40), name), kind)
}

func headKey(name []byte) []byte { return kindKey(name, kindHead) }

// The functions below append a key of a consumer group to dst. prefix is the one that
// appendName makes.

func appendGroupKey(dst, prefix, group []byte) []byte {
	return append(append(append(dst, prefix...), kindGroup), group...)
}

// appendGIDKey appends what all keys of kind of one group start with.
func appendGIDKey(dst, prefix []byte, kind byte, gid uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append(dst, prefix...), kind), gid)
}

func appendConsumerNameKey(dst, prefix []byte, gid uint64, consumer []byte) []byte {
	return append(appendGIDKey(dst, prefix, kindName, gid), consumer...)
}

func appendConsumerKey(dst, prefix []byte, gid, cid uint64) []byte {
	return binary.BigEndian.AppendUint64(appendGIDKey(dst, prefix, kindConsumer, gid), cid)
}

func appendPendingKey(dst, prefix []byte, gid uint64, id ID) []byte {
	return id.appendBytes(appendGIDKey(dst, prefix, kindPending, gid))
}

func appendOwnedKey(dst, prefix []byte, gid, cid uint64, id ID) []byte {
	return id.appendBytes(binary.BigEndian.AppendUint64(appendGIDKey(dst, prefix, kindOwned, gid), cid))
}

func appendDueKey(dst, prefix []byte, gid, due uint64, id ID) []byte {
	return id.appendBytes(binary.BigEndian.AppendUint64(appendGIDKey(dst, prefix, kindDue, gid), due))
}

// idOfKey returns the ID at the end of an entry, chunk, pending, owned or due key.
func idOfKey(key []byte) ID { return idFromBytes(key[len(key)-idBytes:]) }

// dueOfKey returns the place in the order of claims that stands in a due key.
func dueOfKey(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-idBytes-8:]) }

// IsPending reports whether key is that of a pending entry.
func (s *State) IsPending(key []byte) bool {
	if len(key) < 4 {
		return false
	}
	n := int(binary.BigEndian.Uint16(key[2:]))
	return n != kv.SystemLen && len(key) > 4+n && key[4+n] == kindPending
}

// after returns the first key after every key that starts with prefix.
func after(prefix []byte) []byte {
	out := append([]byte(nil), prefix...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] != 0xFF {
			out[i]++
			return out[:i+1]
		}
	}
	return nil
}

// PrintKey shows a key of the state in words, for the dump tool and for errors.
func PrintKey(key []byte) string {
	if len(key) < 4 {
		return fmt.Sprintf("?%x", key)
	}
	slot, n := binary.BigEndian.Uint16(key), int(binary.BigEndian.Uint16(key[2:]))
	if n == kv.SystemLen && len(key) >= deadlineHead && key[4] == kv.SystemExpiry {
		atMS, name := deadlineOfKey(key)
		return fmt.Sprintf("deadline slot=%d %d %q", slot, atMS, name)
	}
	if n == kv.SystemLen {
		return fmt.Sprintf("system slot=%d tag=%q", slot, key[4:])
	}
	if n == indexLen {
		p, name, ok := parseIndexKey(key)
		if !ok {
			return fmt.Sprintf("?%x", key)
		}
		return fmt.Sprintf("index slot=%d hash=%012x %q", slot, p.hash(), name)
	}
	if len(key) < 5+n {
		return fmt.Sprintf("?%x", key)
	}
	name, kind, rest := key[4:4+n], key[4+n], key[5+n:]
	u64 := func(i int) uint64 { return binary.BigEndian.Uint64(rest[i:]) }
	at := fmt.Sprintf("slot=%d %q", slot, name)
	switch {
	case kind == kindHead && len(rest) == 0:
		return "head " + at
	case kind == kindValue && len(rest) == 0:
		return "value " + at
	case (kind == kindEntry || kind == kindChunk) && len(rest) == idBytes:
		what := "entry "
		if kind == kindChunk {
			what = "node "
		}
		return what + at + " " + idOfKey(key).String()
	case kind == kindGroup:
		return fmt.Sprintf("group %s %q", at, rest)
	case kind == kindName && len(rest) >= 8:
		return fmt.Sprintf("consumer-name %s gid=%d %q", at, u64(0), rest[8:])
	case kind == kindConsumer && len(rest) == 16:
		return fmt.Sprintf("consumer %s gid=%d cid=%d", at, u64(0), u64(8))
	case kind == kindPending && len(rest) == 8+idBytes:
		return fmt.Sprintf("pending %s gid=%d %v", at, u64(0), idOfKey(key))
	case kind == kindOwned && len(rest) == 16+idBytes:
		return fmt.Sprintf("owned %s gid=%d cid=%d %v", at, u64(0), u64(8), idOfKey(key))
	case kind == kindDue && len(rest) == 16+idBytes:
		return fmt.Sprintf("due %s gid=%d due=%#x %v", at, u64(0), u64(8), idOfKey(key))
	}
	if what, which, ok := printIDMPKey(kind, rest); ok {
		return what + " " + at + " " + which
	}
	return fmt.Sprintf("? %s kind=%q %x", at, kind, rest)
}
