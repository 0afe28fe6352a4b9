package stream

import (
	"slices"

	"millrace/resp"
)

// ReadIDRefusal returns the refusal of an ID that XREADGROUP, or XREAD when group is false,
// does not accept for any stream, or nil. The router uses it for calls over several shards.
func ReadIDRefusal(id []byte, group bool) *resp.Value {
	switch string(id) {
	case "$":
		if group {
			return &errDollarID
		}
	case "+":
		if group {
			return &errPlusID
		}
	case ">":
		if !group {
			return &errReadGreater
		}
	default:
		if _, ok := parseID(id, 0); !ok {
			return &errInvalidID
		}
	}
	return nil
}

// readLimit counts the entries and bytes of one reply of XREAD or XREADGROUP against its
// MAXCOUNT and MAXSIZE.
type readLimit struct {
	entries  int64 // in the reply so far
	bytes    int64 // of the reply so far, as RESP2
	maxCount int64 // zero: no limit
	maxSize  int64 // zero: no limit
}

// full reports whether no further entry may follow. MAXSIZE never excludes the first entry.
func (l *readLimit) full() bool {
	return l.maxCount > 0 && l.entries >= l.maxCount || l.maxSize > 0 && l.entries > 0 && l.bytes >= l.maxSize
}

// stream counts the bytes around the entries of one stream.
func (l *readLimit) stream(key []byte) {
	l.bytes += int64(len("*2\r\n") + bulkLen(len(key)) + len("*1\r\n"))
}

// entry counts the reply of one entry.
func (l *readLimit) entry(v resp.Value) {
	l.entries++
	l.bytes += int64(replyLen(v))
}

// ReadTaken returns the numbers of entries and bytes that a reply of XREAD or XREADGROUP,
// in either protocol version, counts against MAXCOUNT and MAXSIZE. The router uses it for
// calls over several shards.
func ReadTaken(reply resp.Value) (entries, bytes int64) {
	var l readLimit
	take := func(pair []resp.Value) {
		if len(pair) < 2 || len(pair[1].Elems) == 0 {
			return
		}
		l.stream(pair[0].Str)
		for _, v := range pair[1].Elems {
			l.entry(v)
		}
	}
	if reply.Kind == resp.KindMap {
		for pair := range slices.Chunk(reply.Elems, 2) {
			take(pair)
		}
	} else {
		for _, v := range reply.Elems {
			take(v.Elems)
		}
	}
	return l.entries, l.bytes
}

// replyLen returns the number of bytes of an entry's reply in RESP2. It does not use the
// client's protocol version, because all replicas must compute the same number.
func replyLen(v resp.Value) int {
	switch v.Kind {
	case resp.KindBulk:
		return bulkLen(len(v.Str))
	case resp.KindInt:
		return 1 + digits(uint64(max(v.Int, -v.Int))) + 2
	case resp.KindArray:
		n := 1 + digits(uint64(len(v.Elems))) + 2
		for _, e := range v.Elems {
			n += replyLen(e)
		}
		return n
	}
	return len("$-1\r\n")
}

func bulkLen(n int) int { return 1 + digits(uint64(n)) + 2 + n + 2 }

func digits(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}
