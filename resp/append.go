package resp

import (
	"bytes"
	"math"
	"strconv"
)

// AppendValue appends v to dst as protocol version proto shows it: 3, or 2 for
// anything else. It allocates nothing but what dst needs to grow. Line breaks
// inside simple strings and errors become blanks, as in Redis, so no text can
// forge a reply. A key without a value at the end of a map is left out.
func AppendValue(dst []byte, v Value, proto int) []byte {
	switch v.Kind {
	case KindNull:
		if proto == 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "$-1\r\n"...)
	case KindNullArray:
		if proto == 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "*-1\r\n"...)
	case KindInt:
		return appendLen(dst, ':', v.Int)
	case KindBulk:
		return AppendBulk(dst, v.Str)
	case KindSimple:
		return appendLine(dst, '+', v.Str)
	case KindError:
		return appendLine(dst, '-', v.Str)
	case KindArray:
		return appendElems(AppendArrayLen(dst, len(v.Elems)), v.Elems, proto)
	case KindMap:
		pairs := len(v.Elems) / 2
		if proto == 3 {
			dst = appendLen(dst, '%', int64(pairs))
		} else {
			dst = AppendArrayLen(dst, 2*pairs)
		}
		return appendElems(dst, v.Elems[:2*pairs], proto)
	case KindPairs:
		pairs := len(v.Elems) / 2
		if proto == 3 {
			return appendElems(appendLen(dst, '%', int64(pairs)), v.Elems[:2*pairs], proto)
		}
		dst = AppendArrayLen(dst, pairs)
		for i := 0; i < 2*pairs; i += 2 {
			dst = appendElems(AppendArrayLen(dst, 2), v.Elems[i:i+2], proto)
		}
		return dst
	case KindSet:
		return appendElems(appendLen(dst, in3(proto, '~', '*'), int64(len(v.Elems))), v.Elems, proto)
	case KindPush:
		return appendElems(appendLen(dst, in3(proto, '>', '*'), int64(len(v.Elems))), v.Elems, proto)
	case KindDouble:
		var text [32]byte
		b := appendDouble(text[:0], v.Float)
		if proto != 3 {
			return AppendBulk(dst, b)
		}
		dst = append(append(dst, ','), b...)
		return append(dst, '\r', '\n')
	case KindBool:
		switch {
		case proto != 3 && v.Int != 0:
			return append(dst, ":1\r\n"...)
		case proto != 3:
			return append(dst, ":0\r\n"...)
		case v.Int != 0:
			return append(dst, "#t\r\n"...)
		}
		return append(dst, "#f\r\n"...)
	case KindVerbatim:
		if proto != 3 {
			return AppendBulk(dst, v.Str)
		}
		dst = appendLen(dst, '=', int64(len(v.Str)+len(verbatimText)))
		dst = append(append(dst, verbatimText...), v.Str...)
		return append(dst, '\r', '\n')
	}
	panic("resp: value of unknown kind " + strconv.Itoa(int(v.Kind)))
}

// verbatimText opens the body of a verbatim string of plain text.
const verbatimText = "txt:"

// AppendCommand appends a command as clients send it: an array of bulk strings.
func AppendCommand(dst []byte, args ...[]byte) []byte {
	dst = AppendArrayLen(dst, len(args))
	for _, a := range args {
		dst = AppendBulk(dst, a)
	}
	return dst
}

// AppendArrayLen appends the head of an array of n values, which the caller appends
// after it.
func AppendArrayLen(dst []byte, n int) []byte { return appendLen(dst, '*', int64(n)) }

// AppendBulk appends b as a bulk string.
func AppendBulk(dst, b []byte) []byte {
	dst = appendLen(dst, '$', int64(len(b)))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

func appendElems(dst []byte, elems []Value, proto int) []byte {
	for i := range elems {
		dst = AppendValue(dst, elems[i], proto)
	}
	return dst
}

func in3(proto int, three, two byte) byte {
	if proto == 3 {
		return three
	}
	return two
}

func appendLen(dst []byte, kind byte, n int64) []byte {
	if 0 <= n && n < 10 {
		return append(dst, kind, byte('0'+n), '\r', '\n')
	}
	dst = strconv.AppendInt(append(dst, kind), n, 10)
	return append(dst, '\r', '\n')
}

func appendLine(dst []byte, kind byte, text []byte) []byte {
	dst = append(dst, kind)
	at := len(dst)
	dst = append(dst, text...)
	if bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, '\n') >= 0 {
		for i := at; i < len(dst); i++ {
			if dst[i] == '\r' || dst[i] == '\n' {
				dst[i] = ' '
			}
		}
	}
	return append(dst, '\r', '\n')
}

// appendDouble writes f as C's %.17g lays it out, but with the fewest digits that
// read back as f: the form of Redis since 7.2, where 0.1 is no longer
// 0.10000000000000001.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e17) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}
