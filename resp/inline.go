package resp

import "strings"

// SplitInline splits a line into words, as redis-cli and inline commands do:
//
//   - Blanks separate words.
//   - "Double quotes" allow the escapes \n \r \t \b \a \xHH, and \ before any other byte.
//   - 'Single quotes' allow only the escape \'.
//
// For example, SET k "a b\n" has three words. ok is false if a quote is not closed, or if
// another byte than a blank follows a closing quote. The words do not share memory with
// line.
//
// The rules are those of Redis (sdssplitargs in src/sds.c), except that a zero byte has
// no special meaning.
func SplitInline(line []byte) (words [][]byte, ok bool) {
	ends, data, ok := splitInline(nil, line)
	if !ok {
		return nil, false
	}
	words = make([][]byte, len(ends))
	for i, e := range ends {
		words[i] = data[e.at : e.at+e.n : e.at+e.n]
	}
	return words, true
}

// splitInline copies the words of line into a new slice data, and appends the position of
// each word in data to spans.
func splitInline(spans []span, line []byte) (_ []span, data []byte, ok bool) {
	i := 0
	for {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return spans, data, true
		}
		if data == nil {
			data = make([]byte, 0, len(line)-i) // no word is longer than its source
		}
		at := len(data)
		var used int
		if data, used, ok = appendWord(data, line[i:]); !ok {
			return spans, nil, false
		}
		i += used
		spans = append(spans, span{at, len(data) - at})
	}
}

// appendWord appends the word at the start of line to dst, and returns the number of
// bytes of line that it used.
func appendWord(dst, line []byte) (_ []byte, used int, ok bool) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\n', '\r', '\t':
			return dst, i, true
		case '"', '\'':
			var n int
			if c == '"' {
				dst, n = appendDoubleQuoted(dst, line[i+1:])
			} else {
				dst, n = appendSingleQuoted(dst, line[i+1:])
			}
			i += 1 + n // just past the closing quote
			if n == 0 || i < len(line) && !isSpace(line[i]) {
				return dst, i, false
			}
			return dst, i, true
		default:
			dst = append(dst, c)
		}
	}
	return dst, len(line), true
}

// appendDoubleQuoted appends the text of s up to the closing quote, and returns the
// position after that quote, or 0 if there is none.
func appendDoubleQuoted(dst, s []byte) ([]byte, int) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return dst, i + 1
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			dst = append(dst, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		case s[i] == '\\' && i+1 < len(s):
			i++
			c := s[i]
			if at := strings.IndexByte("nrtba", c); at >= 0 {
				c = "\n\r\t\b\a"[at]
			}
			dst = append(dst, c)
		default:
			dst = append(dst, s[i])
		}
	}
	return dst, 0
}

// appendSingleQuoted is appendDoubleQuoted for single quotes.
func appendSingleQuoted(dst, s []byte) ([]byte, int) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			return dst, i + 1
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '\'':
			i++
			dst = append(dst, '\'')
		default:
			dst = append(dst, s[i])
		}
	}
	return dst, 0
}

// AppendQuoted appends b as redis-cli prints a string: in double quotes, with escapes for
// all bytes outside printable ASCII. SplitInline reads it back.
func AppendQuoted(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\a':
			dst = append(dst, `\a`...)
		case c < ' ' || c > '~':
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// isSpace is isspace of C.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
