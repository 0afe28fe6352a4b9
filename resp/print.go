package resp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// String shows v on one line with its types, for tests, logs and people:
//
//	"bulk"  :1  +OK  -ERR text  $-1  *-1  [a, b]  {k: v}  ~[a]  >[a]  ,1.5  #t  =txt:text
//
// It escapes only line breaks in bulk strings and bytes that are not UTF-8. So the text is
// easy to read, but cannot be parsed.
func (v Value) String() string { return string(appendPrint(nil, v, 0)) }

// Print shows v like String, but as a client of protocol version proto sees it. In
// version 3, both nulls are _(null). In version 2, types of version 3 are shown in the
// form that the client gets: a map as a flat array, a double as a bulk string.
func Print(v Value, proto int) string { return string(appendPrint(nil, v, proto)) }

// appendPrint appends the text of v for a protocol version, or that of String if proto
// is 0.
func appendPrint(dst []byte, v Value, proto int) []byte {
	switch v.Kind {
	case KindNull, KindNullArray:
		switch {
		case proto == 3:
			return append(dst, "_(null)"...)
		case v.Kind == KindNull:
			return append(dst, "$-1"...)
		}
		return append(dst, "*-1"...)
	case KindInt:
		return strconv.AppendInt(append(dst, ':'), v.Int, 10)
	case KindBulk:
		return appendText(dst, v.Str)
	case KindSimple:
		return append(append(dst, '+'), strings.ToValidUTF8(string(v.Str), "\ufffd")...)
	case KindError:
		return append(append(dst, '-'), strings.ToValidUTF8(string(v.Str), "\ufffd")...)
	case KindDouble:
		if proto == 2 {
			return append(AppendDouble(append(dst, '"'), v.Float), '"')
		}
		return AppendDouble(append(dst, ','), v.Float)
	case KindBool:
		switch {
		case proto == 2:
			return strconv.AppendInt(append(dst, ':'), v.Int, 10)
		case v.Int != 0:
			return append(dst, "#t"...)
		}
		return append(dst, "#f"...)
	case KindVerbatim:
		if proto == 2 {
			return appendText(dst, v.Str)
		}
		return append(append(append(dst, '='), verbatimText...), v.Str...)
	}
	return appendPrintElems(dst, v, proto)
}

// appendPrintElems appends the text of a value that has elements.
func appendPrintElems(dst []byte, v Value, proto int) []byte {
	if v.Kind == KindPairs && proto == 2 || v.Kind == KindTuples && proto != 2 {
		dst = append(dst, '[')
		for i := 0; i+1 < len(v.Elems); i += 2 {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendPrint(dst, Array(v.Elems[i:i+2]...), proto)
		}
		return append(dst, ']')
	}
	open, sep, end := "[", ", ", "]"
	if proto != 2 {
		switch v.Kind {
		case KindSet:
			open = "~["
		case KindPush:
			open = ">["
		case KindMap, KindPairs:
			open, sep, end = "{", ": ", "}"
		}
	}
	dst = append(dst, open...)
	for i, e := range v.Elems {
		switch {
		case i%2 == 1:
			dst = append(dst, sep...)
		case i > 0:
			dst = append(dst, ", "...)
		}
		dst = appendPrint(dst, e, proto)
	}
	return append(dst, end...)
}

// appendText appends a bulk string in quotes.
func appendText(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, '\\', 'x', hex[s[0]>>4], hex[s[0]&15])
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
	return append(dst, '"')
}
