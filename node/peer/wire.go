package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is what ends a connection whose peer sent bytes that no correct
// node sends. The text names the frame and the field.
var ErrMalformed = errors.New("peer: malformed frame")

// reader takes fields off a payload. After the first field that is not there, every
// further one is zero and done reports the failure; so a decoder reads straight
// through and checks once.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.u8()
	if v > 1 {
		r.bad = true
	}
	return v == 1
}

// bytes8, bytes16 and bytes32 read a length of that many bits and so many bytes,
// which stay part of the payload. No bytes are nil.
func (r *reader) bytes8() []byte  { return r.some(int(r.u8())) }
func (r *reader) bytes16() []byte { return r.some(int(r.u16())) }
func (r *reader) bytes32() []byte { return r.some(int(r.u32())) }

func (r *reader) some(n int) []byte {
	if n == 0 {
		return nil
	}
	return r.take(n)
}

func (r *reader) str8() string { return string(r.bytes8()) }

// done fails unless exactly all of the payload was read.
func (r *reader) done(what string) error {
	if r.bad {
		return fmt.Errorf("%w: %s is cut short or holds an impossible value", ErrMalformed, what)
	}
	if len(r.b) != 0 {
		return fmt.Errorf("%w: %s has %d bytes too many", ErrMalformed, what, len(r.b))
	}
	return nil
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendBytes8 and appendBytes16 cut what does not fit their length field; callers
// bound node IDs and addresses long before.
func appendBytes8[T ~string | ~[]byte](b []byte, v T) []byte {
	v = v[:min(len(v), 1<<8-1)]
	b = append(b, byte(len(v)))
	return append(b, v...)
}

func appendBytes16[T ~string | ~[]byte](b []byte, v T) []byte {
	v = v[:min(len(v), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}

func appendBytes32(b, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}
