package stream

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// ID identifies an entry of a stream: milliseconds since the Unix epoch, and a sequence
// number within the millisecond.
type ID struct {
	MS, Seq uint64
}

// MaxID is the greatest ID; no entry can follow it.
var MaxID = ID{math.MaxUint64, math.MaxUint64}

// ErrIDSpace means that no ID follows, because the greatest ID is already in use.
var ErrIDSpace = errors.New("stream: no ID follows the greatest one")

// idBytes is the size of an ID in a key or record: two big-endian u64.
const idBytes = 16

// Less reports whether a is before b.
func (a ID) Less(b ID) bool { return a.MS < b.MS || a.MS == b.MS && a.Seq < b.Seq }

// Compare returns -1, 0 or 1 as a is before, equal to or after b.
func (a ID) Compare(b ID) int {
	switch {
	case a == b:
		return 0
	case a.Less(b):
		return -1
	}
	return 1
}

// IsZero reports whether a is 0-0.
func (a ID) IsZero() bool { return a == ID{} }

// Succ returns the ID right after a, or ErrIDSpace for MaxID.
func (a ID) Succ() (ID, error) {
	if a.Seq < math.MaxUint64 {
		return ID{a.MS, a.Seq + 1}, nil
	}
	if a.MS < math.MaxUint64 {
		return ID{a.MS + 1, 0}, nil
	}
	return ID{}, ErrIDSpace
}

// Pred returns the ID right before a, or ErrIDSpace for 0-0.
func (a ID) Pred() (ID, error) {
	if a.Seq > 0 {
		return ID{a.MS, a.Seq - 1}, nil
	}
	if a.MS > 0 {
		return ID{a.MS - 1, math.MaxUint64}, nil
	}
	return ID{}, ErrIDSpace
}

// Next returns the ID of an entry added at nowMS, in milliseconds since the Unix
// epoch, to a stream whose greatest ID is a. The result is above a even when the
// clock went back. Next returns ErrIDSpace when a is MaxID.
// The rule is Redis's: streamNextID in redis src/t_stream.c.
func (a ID) Next(nowMS uint64) (ID, error) {
	if nowMS > a.MS {
		return ID{nowMS, 0}, nil
	}
	return a.Succ()
}

// Append appends "ms-seq" to dst.
func (a ID) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, a.MS, 10)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, a.Seq, 10)
}

// String returns "ms-seq".
func (a ID) String() string { return string(a.Append(make([]byte, 0, 41))) }

// appendBytes appends the 16 bytes of a, whose byte order is ID order.
func (a ID) appendBytes(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, a.MS)
	return binary.BigEndian.AppendUint64(dst, a.Seq)
}

// idFromBytes reads what appendBytes wrote; b holds at least 16 bytes.
func idFromBytes(b []byte) ID {
	return ID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}
