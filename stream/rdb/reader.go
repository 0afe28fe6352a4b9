package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// A length. The two highest bits of the first byte tell its form.
//
//	00xxxxxx                    6 bits
//	01xxxxxx xxxxxxxx           14 bits, big-endian
//	10000000 u32 BE             32 bits
//	10000001 u64 BE             64 bits
//	11xxxxxx                    not a length, but the encoding of a string
//
// A string is a length and its bytes, or has one of these encodings:
//
//	11000000 i8                 the integer as decimal text
//	11000001 i16 LE             likewise
//	11000010 i32 LE             likewise
//	11000011 n, m, n bytes      compressed with LZF from m bytes
const (
	length32, length64                      = 0x80, 0x81
	encodedInt8, encodedInt16, encodedInt32 = 0xC0, 0xC1, 0xC2
	encodedLZF                              = 0xC3
)

// ID is the ID of an entry.
type ID struct {
	MS, Seq uint64
}

func (a ID) less(b ID) bool { return a.MS < b.MS || a.MS == b.MS && a.Seq < b.Seq }

func (a ID) compare(b ID) int {
	switch {
	case a == b:
		return 0
	case a.less(b):
		return -1
	}
	return 1
}

// reader reads the parts of a value. After the first error everything reads as zero, so
// that callers need not check each part. A loop over an announced number must check err.
type reader struct {
	b      []byte // the bytes not yet read
	err    error  // the first error
	budget Budget
}

// fail sets err to an ErrFormat, unless it is set already, and ends the input.
func (r *reader) fail(format string, args ...any) {
	r.stop(badFormat(format, args...))
}

// stop sets r.err to err, unless it is set already, and ends the input. For a nil err it
// does nothing.
func (r *reader) stop(err error) {
	if err == nil {
		return
	}
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// next returns the next n bytes, which share memory with the payload. It fails and returns
// nil when fewer are left.
func (r *reader) next(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%d bytes where %d are left", n, len(r.b))
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte {
	if v := r.next(1); v != nil {
		return v[0]
	}
	return 0
}

// form reads a length, or the first byte of an encoded string. For an encoded string,
// encoded is that byte; otherwise it is zero.
func (r *reader) form() (n uint64, encoded byte) {
	first := r.u8()
	switch {
	case first>>6 == 0:
		return uint64(first), 0
	case first>>6 == 1:
		return uint64(first&0x3F)<<8 | uint64(r.u8()), 0
	case first == length32:
		if v := r.next(4); v != nil {
			return uint64(binary.BigEndian.Uint32(v)), 0
		}
	case first == length64:
		if v := r.next(8); v != nil {
			return binary.BigEndian.Uint64(v), 0
		}
	case first>>6 == 3:
		return 0, first
	default:
		r.fail("length starts with %#x", first)
	}
	return 0, 0
}

func (r *reader) length() uint64 {
	n, encoded := r.form()
	if encoded != 0 {
		r.fail("encoding %#x where a length has to be", encoded)
	}
	return n
}

// signed reads a length that must fit an int64. what names it in the error.
func (r *reader) signed(what string) uint64 {
	n := r.length()
	if n > math.MaxInt64 {
		r.fail("%s of %d", what, n)
		return 0
	}
	return n
}

// string returns a string, which may share memory with the payload.
func (r *reader) string() []byte {
	n, encoded := r.form()
	switch encoded {
	case 0:
		return r.next(n)
	case encodedInt8:
		return strconv.AppendInt(nil, int64(int8(r.u8())), 10)
	case encodedInt16:
		if v := r.next(2); v != nil {
			return strconv.AppendInt(nil, int64(int16(binary.LittleEndian.Uint16(v))), 10)
		}
	case encodedInt32:
		if v := r.next(4); v != nil {
			return strconv.AppendInt(nil, int64(int32(binary.LittleEndian.Uint32(v))), 10)
		}
	case encodedLZF:
		packed, size := r.length(), r.length()
		in := r.next(packed)
		if r.err != nil {
			return nil
		}
		if size > uint64(len(in))*lzfMaxGrowth {
			r.fail("%d compressed bytes cannot become %d", len(in), size)
			return nil
		}
		r.stop(r.budget.Bytes(int(size)))
		if r.err != nil {
			return nil
		}
		out, err := lzfDecompress(in, int(size))
		r.stop(err)
		return out
	default:
		r.fail("string encoding %#x", encoded)
	}
	return nil
}

// id reads an ID as two lengths.
func (r *reader) id() ID { return ID{MS: r.length(), Seq: r.length()} }

// rawID reads an ID as sixteen bytes, big-endian.
func (r *reader) rawID() ID {
	if v := r.next(16); v != nil {
		return idFromBytes(v)
	}
	return ID{}
}

func idFromBytes(b []byte) ID {
	return ID{MS: binary.BigEndian.Uint64(b), Seq: binary.BigEndian.Uint64(b[8:])}
}

// time reads a time in milliseconds since the Unix epoch, of at least min.
func (r *reader) time(min int64) int64 {
	v := r.next(8)
	if v == nil {
		return 0
	}
	ms := int64(binary.LittleEndian.Uint64(v))
	if ms < min {
		r.fail("time of %d ms", ms)
	}
	return ms
}

func appendLength(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return append(dst, 0x40|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, length32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, length64), n)
}

// maxIntText is the greatest length of a string that is written as an integer.
const maxIntText = 11

// appendString appends a string in the form that Redis uses with rdbcompression off.
func appendString(dst, s []byte) []byte {
	if v, ok := integer(s); ok && len(s) <= maxIntText {
		switch {
		case v == int64(int8(v)):
			return append(dst, encodedInt8, byte(v))
		case v == int64(int16(v)):
			return binary.LittleEndian.AppendUint16(append(dst, encodedInt16), uint16(v))
		case v == int64(int32(v)):
			return binary.LittleEndian.AppendUint32(append(dst, encodedInt32), uint32(v))
		}
	}
	return append(appendLength(dst, uint64(len(s))), s...)
}

func appendID(dst []byte, id ID) []byte { return appendLength(appendLength(dst, id.MS), id.Seq) }

func appendRawID(dst []byte, id ID) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, id.MS), id.Seq)
}

func appendTime(dst []byte, ms int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(ms))
}

// integer returns the integer with the decimal text s, and whether there is one. Texts such
// as "007" and "-0" are not integers, because reading them back would give another text.
func integer(s []byte) (int64, bool) {
	if len(s) == 0 || len(s) > 20 || s[0] > '9' {
		return 0, false
	}
	v, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil || string(strconv.AppendInt(nil, v, 10)) != string(s) {
		return 0, false
	}
	return v, true
}
