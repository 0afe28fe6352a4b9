package rdb

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// A listpack is a sequence of strings and integers.
//
//	 0       4       6
//	+-------+-------+---------+ … +------+
//	| bytes | count | element | … | 0xFF |
//	| u32LE | u16LE |         |   |      |
//	+-------+-------+---------+ … +------+
//
// bytes is the size of the whole listpack. count is the number of elements, or 0xFFFF when
// there are that many or more. Each element is followed by its own size, so that a listpack
// can be read backward. The forms of an element are:
//
//	0nnnnnnn                             7 bits, an integer
//	10nnnnnn n bytes                     a string
//	110xxxxx xxxxxxxx                    13 bits, a signed integer
//	1110nnnn nnnnnnnn n bytes            a string
//	11110000 n u32LE, n bytes            a string
//	11110001, …10, …11, …100 i16, i24, i32, i64 LE
const (
	listpackHeader = 6
	listpackEnd    = 0xFF
	listpackMany   = 0xFFFF

	element32String = 0xF0
	element16Int    = 0xF1
	element24Int    = 0xF2
	element32Int    = 0xF3
	element64Int    = 0xF4
)

// element is an element of a listpack: a string, or an integer when str is nil.
type element struct {
	str []byte
	num int64
}

// text returns e as a string. An integer becomes decimal text.
func (e element) text() []byte {
	if e.str != nil {
		return e.str
	}
	return strconv.AppendInt(nil, e.num, 10)
}

// listpack reads a listpack from its first element on. Like reader, it reads zeros after
// the first error.
type listpack struct {
	b    []byte // the elements not yet read
	read int    // number of elements read
	err  error
}

// openListpack returns a reader of the listpack b. It checks the size and the end of b, but
// not the elements.
func openListpack(b []byte) (listpack, error) {
	if len(b) < listpackHeader+1 || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) || b[len(b)-1] != listpackEnd {
		return listpack{}, badFormat("listpack of %d bytes", len(b))
	}
	return listpack{b: b[listpackHeader : len(b)-1]}, nil
}

// close returns an error when the listpack b was not read without error to its end, or does
// not have as many elements as it says.
func (l *listpack) close(b []byte) error {
	if l.err != nil {
		return l.err
	}
	count := int(binary.LittleEndian.Uint16(b[4:]))
	if len(l.b) > 0 || count != l.read && count != listpackMany {
		return badFormat("listpack counts %d elements, %d were read and %d bytes are left", count, l.read, len(l.b))
	}
	return nil
}

func (l *listpack) fail(format string, args ...any) {
	if l.err == nil {
		l.err = badFormat(format, args...)
	}
	l.b = nil
}

// next reads one element.
func (l *listpack) next() element {
	if len(l.b) == 0 {
		l.fail("listpack ends early")
		return element{}
	}
	e, n, ok := decodeElement(l.b)
	if !ok {
		l.fail("listpack element %#x", l.b[0])
		return element{}
	}
	var back [5]byte
	tail := appendBackLength(back[:0], n)
	if !bytes.HasPrefix(l.b[n:], tail) {
		l.fail("listpack element of %d bytes ends with another size", n)
		return element{}
	}
	l.b = l.b[n+len(tail):]
	l.read++
	return e
}

// integer reads an integer. It fails on a string.
func (l *listpack) integer() int64 {
	e := l.next()
	if e.str != nil {
		l.fail("listpack has a string where an integer has to be")
	}
	return e.num
}

// count reads an integer that must not be negative.
func (l *listpack) count() uint64 {
	n := l.integer()
	if n < 0 {
		l.fail("listpack has the negative count %d", n)
		return 0
	}
	return uint64(n)
}

// decodeElement reads the element at the start of b. n is its size, without the backward
// length that follows it.
func decodeElement(b []byte) (e element, n int, ok bool) {
	c := b[0]
	head, size := 1, 0 // of a string: the number of bytes before it, and its length
	switch {
	case c < 0x80:
		return element{num: int64(c)}, 1, true
	case c < 0xC0:
		size = int(c & 0x3F)
	case c < 0xE0:
		if len(b) < 2 {
			return e, 0, false
		}
		v := int64(c&0x1F)<<8 | int64(b[1])
		return element{num: v << 51 >> 51}, 2, true
	case c < 0xF0:
		if len(b) < 2 {
			return e, 0, false
		}
		head, size = 2, int(c&0x0F)<<8|int(b[1])
	case c == element32String:
		if len(b) < 5 {
			return e, 0, false
		}
		head, size = 5, int(binary.LittleEndian.Uint32(b[1:]))
	case c <= element64Int:
		width := intWidth(c)
		if len(b) < 1+width {
			return e, 0, false
		}
		var raw [8]byte
		copy(raw[8-width:], b[1:1+width])
		return element{num: int64(binary.LittleEndian.Uint64(raw[:])) >> (64 - 8*width)}, 1 + width, true
	default:
		return e, 0, false
	}
	if size > len(b)-head {
		return e, 0, false
	}
	return element{str: b[head : head+size : head+size]}, head + size, true
}

// intWidth returns the number of bytes after the first one of an integer element.
func intWidth(first byte) int {
	if first == element64Int {
		return 8
	}
	return int(first-element16Int) + 2
}

// listpackWriter appends a listpack to b.
type listpackWriter struct {
	b     []byte
	start int // index in b at which the listpack starts
	count int // number of elements
}

func beginListpack(dst []byte) listpackWriter {
	return listpackWriter{b: append(dst, make([]byte, listpackHeader)...), start: len(dst)}
}

// finish completes the listpack and returns b.
func (w *listpackWriter) finish() []byte {
	w.b = append(w.b, listpackEnd)
	binary.LittleEndian.PutUint32(w.b[w.start:], uint32(len(w.b)-w.start))
	binary.LittleEndian.PutUint16(w.b[w.start+4:], uint16(min(w.count, listpackMany)))
	return w.b
}

func (w *listpackWriter) integer(v int64) {
	n := len(w.b)
	switch {
	case 0 <= v && v <= 0x7F:
		w.b = append(w.b, byte(v))
	case -1<<12 <= v && v < 1<<12:
		w.b = append(w.b, 0xC0|byte(v>>8)&0x1F, byte(v))
	case v == int64(int16(v)):
		w.b = binary.LittleEndian.AppendUint16(append(w.b, element16Int), uint16(v))
	case -1<<23 <= v && v < 1<<23:
		w.b = append(w.b, element24Int, byte(v), byte(v>>8), byte(v>>16))
	case v == int64(int32(v)):
		w.b = binary.LittleEndian.AppendUint32(append(w.b, element32Int), uint32(v))
	default:
		w.b = binary.LittleEndian.AppendUint64(append(w.b, element64Int), uint64(v))
	}
	w.end(n)
}

// string appends s. It writes an integer when s is the decimal text of one.
func (w *listpackWriter) string(s []byte) {
	if v, ok := integer(s); ok {
		w.integer(v)
		return
	}
	n := len(w.b)
	switch {
	case len(s) < 1<<6:
		w.b = append(w.b, 0x80|byte(len(s)))
	case len(s) < 1<<12:
		w.b = append(w.b, 0xE0|byte(len(s)>>8), byte(len(s)))
	default:
		w.b = binary.LittleEndian.AppendUint32(append(w.b, element32String), uint32(len(s)))
	}
	w.b = append(w.b, s...)
	w.end(n)
}

// end appends the backward length of the element that starts at index n.
func (w *listpackWriter) end(n int) {
	w.b = appendBackLength(w.b, len(w.b)-n)
	w.count++
}

// appendBackLength appends the size n of an element in the form that is read backward:
// seven bits in each byte, the highest bits first, and the top bit set in all bytes except
// the first. For example, 300 becomes 0x02 0xAC.
func appendBackLength(dst []byte, n int) []byte {
	shift := 0
	for _, most := range [...]int{127, 16382, 2097150, 268435454} {
		if n <= most {
			break
		}
		shift += 7
	}
	dst = append(dst, byte(n>>shift))
	for shift > 0 {
		shift -= 7
		dst = append(dst, byte(n>>shift)&0x7F|0x80)
	}
	return dst
}
