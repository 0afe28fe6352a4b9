package stream

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Redis reads numbers with C's strtod and strtold. Both take more forms than Go does, and
// Go takes some that they refuse; which of them a state holds must not depend on either.

// floatText is the text of a number in C's notation.
type floatText struct {
	text     string // in a form that Go reads too
	infinite bool
	negative bool
	zero     bool // all digits are zeros
	exp      int  // the exponent, of two in hex; beyond a bound it is that bound
}

// scanFloat reads a number in C's notation: decimal or hex, or "inf" and "infinity" in any
// case. ok is false for anything else, NaN included.
func scanFloat(b []byte) (f floatText, ok bool) {
	s := strings.ToLower(string(b))
	rest := s
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		f.negative = rest[0] == '-'
		rest = rest[1:]
	}
	if rest == "inf" || rest == "infinity" {
		f.infinite = true
		return f, true
	}
	digits, exponent := "0123456789", "e"
	hex := strings.HasPrefix(rest, "0x")
	if hex {
		digits, exponent, rest = "0123456789abcdef", "p", rest[2:]
	}
	f.zero = true
	read, seenPoint := 0, false
	for rest != "" {
		c := rest[0]
		if c == '.' && !seenPoint {
			seenPoint = true
		} else if strings.IndexByte(digits, c) >= 0 {
			read++
			f.zero = f.zero && c == '0'
		} else {
			break
		}
		rest = rest[1:]
	}
	if read == 0 {
		return f, false
	}
	f.text = s
	if rest == "" {
		if hex {
			f.text += "p0"
		}
		return f, true
	}
	if !strings.HasPrefix(rest, exponent) {
		return f, false
	}
	const bound = 1 << 20
	n, err := strconv.ParseInt(rest[1:], 10, 64)
	if err != nil && (len(rest) < 18 || strings.Trim(rest[2:], "0123456789") != "") {
		return f, false
	}
	f.exp = int(min(max(n, -bound), bound))
	return f, true
}

func infinity(negative bool) float64 {
	if negative {
		return math.Inf(-1)
	}
	return math.Inf(1)
}

// strtod returns the double nearest to a number in C's notation. Numbers that are too large
// become infinite, and those that are too small zero: then exact is false.
func (f *floatText) strtod() (v float64, exact bool) {
	if f.infinite {
		return infinity(f.negative), true
	}
	v, err := strconv.ParseFloat(f.text, 64)
	if err != nil {
		return infinity(f.negative), false
	}
	return v, v != 0 || f.zero
}

// parseDouble reads a score or an increment. -0 is 0, as in a small sorted set of Redis. The
// rule is string2d in redis src/util.c.
func parseDouble(b []byte) (float64, bool) {
	f, ok := scanFloat(b)
	if !ok {
		return 0, false
	}
	v, ok := f.strtod()
	return v + 0, ok
}

// parseScoreBound reads an end of a range of scores. Unlike a score it may be empty, which
// is 0, and too large or too small, but not in hex. The rule is zslParseRange in redis
// src/t_zset.c.
func parseScoreBound(b []byte) (float64, bool) {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i] // the end of a string of C
	}
	if len(b) == 0 {
		return 0, true
	}
	f, ok := scanFloat(b)
	if !ok || strings.Contains(f.text, "x") {
		return 0, false
	}
	v, _ := f.strtod()
	return v + 0, true
}

// A long double has 64 bits of mantissa on the machines that Redis runs on. HINCRBYFLOAT
// computes with it, so it is done in software here: all replicas must get the same sum.
const (
	longDoubleBits   = 64
	longDoubleMaxExp = 16384  // numbers from 2^16384 on are infinite
	longDoubleMinExp = -16445 // exponent of the least number
	// maxLongDoubleText is the longest text of one that Redis reads.
	maxLongDoubleText = 255
	// maxTextExp is beyond the exponents of ten and two of all numbers that have maxLongDoubleText digits.
	maxTextExp = 20_000
)

// parseLongDouble reads the two summands of HINCRBYFLOAT. The rule is string2ld in redis
// src/util.c.
func parseLongDouble(b []byte) (*big.Float, bool) {
	if len(b) > maxLongDoubleText {
		return nil, false
	}
	t, ok := scanFloat(b)
	if !ok {
		return nil, false
	}
	f := new(big.Float).SetPrec(longDoubleBits)
	switch {
	case t.infinite:
		return f.SetInf(t.negative), true
	case t.zero:
		return f, true
	case t.exp > maxTextExp || t.exp < -maxTextExp:
		return nil, false
	}
	r, ok := new(big.Rat).SetString(t.text)
	if !ok {
		return nil, false
	}
	f.SetRat(r)
	exp := f.MantExp(nil) // f is at least 2^(exp-1), and below 2^exp
	if exp > longDoubleMaxExp || exp < longDoubleMinExp {
		return nil, false
	}
	return f, true
}

// addLongDoubles returns a+b; ok is false if the sum is no finite number.
func addLongDoubles(a, b *big.Float) (sum *big.Float, ok bool) {
	if a.IsInf() || b.IsInf() {
		return nil, false
	}
	sum = new(big.Float).SetPrec(longDoubleBits).Add(a, b)
	return sum, sum.MantExp(nil) <= longDoubleMaxExp
}

// appendLongDouble appends f with up to 17 decimals and without zeros at its end, as Redis
// prints the sum.
func appendLongDouble(dst []byte, f *big.Float) []byte {
	text := strings.TrimRight(strings.TrimRight(f.Text('f', 17), "0"), ".") // there is a point
	if text == "-0" {
		text = "0"
	}
	return append(dst, text...)
}
