package stream

import (
	"bytes"
	"math"

	"millrace/command"
	"millrace/resp"
)

// Refusals that several commands share, with Redis's texts.
var (
	errNoSuchKey     = resp.Err("ERR no such key")
	errInvalidID     = resp.Err("ERR Invalid stream ID specified as stream command argument")
	errInvalidStart  = resp.Err("ERR invalid start ID for the interval")
	errInvalidEnd    = resp.Err("ERR invalid end ID for the interval")
	errNumIDs        = resp.Err("ERR Number of IDs must be a positive integer")
	errNumIDsCount   = resp.Err("ERR The `numids` parameter must match the number of arguments")
	errIDsRequired   = resp.Err("ERR IDS option is required")
	errCountPositive = resp.Err("ERR COUNT must be > 0")
)

// maxIDText is the greatest length of an ID's text. Redis copies it into a buffer of 128
// bytes, of which the last is zero.
const maxIDText = 127

// parseIDPart reads one half of an ID. The rule is that of Redis's string2ull: it tries
// string2ll first, and then C's strtoull, which accepts leading blanks, a sign and leading
// zeros. A minus sign negates modulo 2^64.
func parseIDPart(b []byte) (uint64, bool) {
	if v, ok := command.ParseInt(b); ok {
		return uint64(v), v >= 0
	}
	for len(b) > 0 && (b[0] == ' ' || '\t' <= b[0] && b[0] <= '\r') {
		b = b[1:]
	}
	negative := false
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		negative = b[0] == '-'
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if v > math.MaxUint64/10 || v*10 > math.MaxUint64-d {
			return 0, false
		}
		v = v*10 + d
	}
	if negative {
		v = -v
	}
	return v, true
}

// splitID reads "ms" or "ms-seq". Redis works on C strings, so text ends at a zero byte.
func splitID(b []byte) (ms, seqText []byte, hasSeq, ok bool) {
	if len(b) > maxIDText {
		return nil, nil, false, false
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	ms, seqText, hasSeq = bytes.Cut(b, []byte{'-'})
	return ms, seqText, hasSeq, true
}

// parseID reads an ID; without a sequence number it gets missingSeq. "-" and "+" are
// refused. The rule is Redis's streamParseStrictIDOrReply.
func parseID(b []byte, missingSeq uint64) (ID, bool) {
	msText, seqText, hasSeq, ok := splitID(b)
	if !ok {
		return ID{}, false
	}
	id := ID{Seq: missingSeq}
	if id.MS, ok = parseIDPart(msText); !ok {
		return ID{}, false
	}
	if hasSeq {
		id.Seq, ok = parseIDPart(seqText)
	}
	return id, ok
}

// parseNewID reads the ID of XADD: an ID, or "ms-*". For "ms-*" autoSeq is true, and the
// stream chooses the sequence number. The caller handles "*" alone.
func parseNewID(b []byte) (id ID, autoSeq, ok bool) {
	msText, seqText, hasSeq, ok := splitID(b)
	if ok && hasSeq && len(seqText) == 1 && seqText[0] == '*' {
		id.MS, ok = parseIDPart(msText)
		return id, true, ok
	}
	id, ok = parseID(b, 0)
	return id, false, ok
}

// parseRangeID is parseID that also accepts "-" for the least and "+" for the greatest ID.
func parseRangeID(b []byte, missingSeq uint64) (ID, bool) {
	if len(b) == 1 && b[0] == '-' {
		return ID{}, true
	}
	if len(b) == 1 && b[0] == '+' {
		return MaxID, true
	}
	return parseID(b, missingSeq)
}

// parseStart reads the start of an interval and returns the first ID in it, or a refusal.
// "(" before an ID excludes the ID. For example, "(5-1" returns 5-2.
func parseStart(b []byte) (ID, *resp.Value) {
	if len(b) > 1 && b[0] == '(' {
		id, ok := parseID(b[1:], 0)
		if !ok {
			return ID{}, &errInvalidID
		}
		id, err := id.Succ()
		if err != nil {
			return ID{}, &errInvalidStart
		}
		return id, nil
	}
	id, ok := parseRangeID(b, 0)
	if !ok {
		return ID{}, &errInvalidID
	}
	return id, nil
}

// parseEnd reads the end of an interval and returns the last ID in it, or a refusal. "("
// before an ID excludes the ID. For example, "(5-1" returns 5-0.
func parseEnd(b []byte) (ID, *resp.Value) {
	if len(b) > 1 && b[0] == '(' {
		id, ok := parseID(b[1:], math.MaxUint64)
		if !ok {
			return ID{}, &errInvalidID
		}
		id, err := id.Pred()
		if err != nil {
			return ID{}, &errInvalidEnd
		}
		return id, nil
	}
	id, ok := parseRangeID(b, math.MaxUint64)
	if !ok {
		return ID{}, &errInvalidID
	}
	return id, nil
}

// parseIDs reads every word as an ID, or returns a refusal.
func parseIDs(words [][]byte) ([]ID, *resp.Value) {
	ids := make([]ID, len(words))
	for i, w := range words {
		id, ok := parseID(w, 0)
		if !ok {
			return nil, &errInvalidID
		}
		ids[i] = id
	}
	return ids, nil
}

// refPolicy decides how deleting an entry treats the pending entries of groups.
type refPolicy uint8

const (
	keepRef  refPolicy = iota // they stay pending, although the entry is gone
	delRef                    // they are deleted with the entry
	ackedRef                  // the entry is deleted only if every group has read and acknowledged it
)

// parseRefPolicy reads KEEPREF, DELREF or ACKED.
func parseRefPolicy(b []byte) (refPolicy, bool) {
	switch {
	case command.IsWord(b, "KEEPREF"):
		return keepRef, true
	case command.IsWord(b, "DELREF"):
		return delRef, true
	case command.IsWord(b, "ACKED"):
		return ackedRef, true
	}
	return keepRef, false
}
