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
//	                       'h'    hash u40, field                field of a hash (element.go)
//	                       'm'    hash u40, member               member of a sorted set
//	                       's'    score u64, member              member by score (zset.go)
//
// slot comes before name, so that the keys of a slot are adjacent and a shard is one range
// of keys. n comes before name, so that a scan of "ab" never meets keys of "abc". The kind
// of the head is the lowest, so that a scan over names can seek from head to head. gid and
// cid are numbers that groups and consumers get when they are created. They are never used
// again, so that a key left from a destroyed group cannot be taken for one of a new group.
// due is the place in the order of claims: pendingEntry.due.
//
// Two more sorts of keys have an n that no name has. A system key, with n = 0xFFFF, belongs
// to the shard: package kv draws it. An index key, with n = 0xFFFE, stands for a name in the
// order in which SCAN walks: index.go draws it. The key of a deadline is a system key with
// a time and a name after the tag:
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
	kindField    = 'h'
	kindMember   = 'm'
	kindScore    = 's'

	// MaxKeyLen is the greatest length of a name, in bytes. Greater lengths mark index and
	// system keys.
	MaxKeyLen = indexLen - 1

	indexLen = 0xFFFE // in place of the length, in an index key
)

// deadlineKey returns the key of the deadline of name at atMS.
func deadlineKey(firstSlot uint16, atMS int64, name []byte) []byte {
	k := append(make([]byte, 0, deadlineHead+len(name)), kv.SystemKey(firstSlot, kv.SystemExpiry)...)
	return append(binary.BigEndian.AppendUint64(k, uint64(atMS)), name...)
}

// deadlineHead is the number of bytes before the name in the key of a deadline.
const deadlineHead = 13

// deadlineBounds returns the range [lo, hi) of the keys of all deadlines from fromMS on.
func deadlineBounds(firstSlot uint16, fromMS int64) (lo, hi []byte) {
	return deadlineKey(firstSlot, fromMS, nil), kv.SystemKey(firstSlot, kv.SystemExpiry+1)
}

// deadlineOfKey returns the time and the name in the key of a deadline. name shares memory
// with key.
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

// The functions below append a key of a consumer group to dst. prefix comes from
// appendName.

func appendGroupKey(dst, prefix, group []byte) []byte {
	return append(append(append(dst, prefix...), kindGroup), group...)
}

// appendGIDKey appends the common prefix of all keys of one kind of one group.
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

// dueOfKey returns the place in the order of claims in a due key.
func dueOfKey(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-idBytes-8:]) }

// IsPending reports whether key is the key of a pending entry.
func (s *State) IsPending(key []byte) bool {
	if len(key) < 4 {
		return false
	}
	n := int(binary.BigEndian.Uint16(key[2:]))
	return n != kv.SystemLen && len(key) > 4+n && key[4+n] == kindPending
}

// after returns the first key after all keys that start with prefix.
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

// PrintKey describes a key of the state in words, for the dump tool and for errors. For
// example, a key of an entry is `entry slot=15891 "t" 5-1`. A key that it cannot read is
// shown in hex after "?".
func PrintKey(key []byte) string {
	if len(key) < 4 {
		return fmt.Sprintf("?%x", key)
	}
	slot, n := binary.BigEndian.Uint16(key), int(binary.BigEndian.Uint16(key[2:]))
	if n == kv.SystemLen && len(key) > 4 && key[4] == kv.SystemCleanup {
		name, group, ok := parseCleanupKey(key)
		if !ok {
			return fmt.Sprintf("?%x", key)
		}
		return fmt.Sprintf("cleanup slot=%d %q %q", slot, name, group)
	}
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
		return fmt.Sprintf("index slot=%d hash=%010x %q", slot, p.hash(), name)
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
			what = "node " // the word in dumps and in the scripts of testdata
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
	if text, ok := printElementKey(kind, at, rest); ok {
		return text
	}
	if what, which, ok := printIDMPKey(kind, rest); ok {
		return what + " " + at + " " + which
	}
	return fmt.Sprintf("? %s kind=%q %x", at, kind, rest)
}
