package resp

import (
	"bytes"
	"strconv"
)

// AppendValue appends the encoding of v in protocol version proto to dst: RESP3 if proto
// is 3, and RESP2 otherwise. It allocates only to grow dst. As in Redis, line breaks in
// simple strings and errors become blanks, so that a text cannot forge a second reply. If
// a map has an odd number of elements, the last one is left out.
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
	case KindMap, KindPairs:
		return appendPairs(dst, v, proto)
	case KindTuples:
		return appendTuples(dst, v, proto)
	case KindSet:
		return appendElems(appendLen(dst, ifRESP3(proto, '~', '*'), int64(len(v.Elems))), v.Elems, proto)
	case KindPush:
		return appendElems(appendLen(dst, ifRESP3(proto, '>', '*'), int64(len(v.Elems))), v.Elems, proto)
	case KindDouble:
		var text [32]byte
		b := AppendDouble(text[:0], v.Float)
		if proto != 3 {
			return AppendBulk(dst, b)
		}
		dst = append(append(dst, ','), b...)
		return append(dst, '\r', '\n')
	case KindBool:
		return appendBool(dst, v.Int != 0, proto)
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

// verbatimText is the format of a verbatim string of plain text, with the colon that
// separates it from the text.
const verbatimText = "txt:"

// appendPairs appends a KindMap or a KindPairs. In RESP2, the first is a flat array
// [k, v, k, v], and the second an array of arrays [[k, v], [k, v]].
func appendPairs(dst []byte, v Value, proto int) []byte {
	pairs := len(v.Elems) / 2
	switch {
	case proto == 3:
		return appendElems(appendLen(dst, '%', int64(pairs)), v.Elems[:2*pairs], proto)
	case v.Kind == KindMap:
		return appendElems(AppendArrayLen(dst, 2*pairs), v.Elems[:2*pairs], proto)
	}
	dst = AppendArrayLen(dst, pairs)
	for i := 0; i < 2*pairs; i += 2 {
		dst = appendElems(AppendArrayLen(dst, 2), v.Elems[i:i+2], proto)
	}
	return dst
}

// appendTuples appends a KindTuples.
func appendTuples(dst []byte, v Value, proto int) []byte {
	n := len(v.Elems) / 2
	if proto != 3 {
		return appendElems(AppendArrayLen(dst, 2*n), v.Elems[:2*n], proto)
	}
	dst = AppendArrayLen(dst, n)
	for i := 0; i < 2*n; i += 2 {
		dst = appendElems(AppendArrayLen(dst, 2), v.Elems[i:i+2], proto)
	}
	return dst
}

func appendBool(dst []byte, b bool, proto int) []byte {
	switch {
	case proto != 3 && b:
		return append(dst, ":1\r\n"...)
	case proto != 3:
		return append(dst, ":0\r\n"...)
	case b:
		return append(dst, "#t\r\n"...)
	}
	return append(dst, "#f\r\n"...)
}

// AppendCommand appends a command in the form that clients send, an array of bulk
// strings.
func AppendCommand(dst []byte, args ...[]byte) []byte {
	dst = AppendArrayLen(dst, len(args))
	for _, a := range args {
		dst = AppendBulk(dst, a)
	}
	return dst
}

// AppendArrayLen appends the head of an array. The caller then appends its n values.
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

func ifRESP3(proto int, three, two byte) byte {
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
