package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed means that the other node sent bytes that no correct node sends. The
// connection then ends. The full text names the frame.
var ErrMalformed = errors.New("peer: malformed frame")

// reader reads the fields of a payload one after the other. If the payload ends too
// early, that field and all later ones are zero, and done returns the error. So a
// decoder reads all fields and checks once.
type reader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes, a slice of the payload, or nil if there are fewer.
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

// bytes8, bytes16 and bytes32 read a length of 8, 16 or 32 bits and that many bytes,
// which remain a slice of the payload. For length 0 they return nil.
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

// done returns an error unless the payload was read to its last byte. name is the
// message for the error text.
func (r *reader) done(name string) error {
	if r.bad {
		return fmt.Errorf("%w: %s is cut short or holds an impossible value", ErrMalformed, name)
	}
	if len(r.b) != 0 {
		return fmt.Errorf("%w: %s has %d bytes too many", ErrMalformed, name, len(r.b))
	}
	return nil
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendBytes8 and appendBytes16 cut a value at the largest length that their length
// field can hold. Node IDs and addresses were checked to be shorter.
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
