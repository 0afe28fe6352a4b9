package command

import (
	"math"
	"strings"

	"millrace/resp"
)

// Error replies that several commands share, with Redis's texts.
var (
	ErrSyntax     = resp.Err("ERR syntax error")
	ErrNotInteger = resp.Err("ERR value is not an integer or out of range")
)

// IsWord reports whether b is the option or the name word, in upper or lower case. Only
// the case of ASCII letters is ignored.
func IsWord(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if lowerByte(c) != lowerByte(word[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// lower appends the ASCII lower case of word to dst. It appends at most 64 bytes: no
// command has a longer name, so a longer word is not found in any table.
func lower(dst, word []byte) []byte {
	if len(word) > 64 {
		word = word[:64]
	}
	for _, b := range word {
		dst = append(dst, lowerByte(b))
	}
	return dst
}

// Printable returns the first limit bytes of word with every CR and LF replaced by a
// blank, so that an error reply can quote it on one line.
func Printable(word []byte, limit int) string {
	if len(word) > limit {
		word = word[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, string(word))
}

// ParseInt reads a decimal integer and reports whether b is one. Blanks, a plus sign,
// leading zeros and -0 are refused. The rule is Redis's: string2ll in redis src/util.c.
func ParseInt(b []byte) (n int64, ok bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	var v uint64 // 19 digits cannot overflow it
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	if negative {
		if v > 1<<63 {
			return 0, false
		}
		return -int64(v), true
	}
	if v > math.MaxInt64 {
		return 0, false
	}
	return int64(v), true
}
