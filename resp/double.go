package resp

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"sync"
)

// AppendDouble appends f as Redis prints it since version 7.2: 3, 0.1, 1e+22, -inf, nan.
// Numbers that are whole and below 2^62 have all their digits. Others have the digits that
// the Grisu2 algorithm finds: they always read back as f, and in all but about one case in
// a thousand they are the fewest that do. So strconv's shortest form would not do.
// The rule is d2string in redis src/util.c, with deps/fpconv.
func AppendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case f == 0 && math.Signbit(f):
		return append(dst, "-0"...)
	case math.Abs(f) <= 1<<62 && f == math.Trunc(f):
		return strconv.AppendInt(dst, int64(f), 10)
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	var buf [20]byte
	digits, exp := grisu(buf[:0], math.Abs(f))
	return layOut(dst, digits, exp, f < 0)
}

// layOut appends the number digits × 10^exp. It has an exponent where the plain form would
// have many zeros: 1.5e-7, and 0.000015.
func layOut(dst, digits []byte, exp int, negative bool) []byte {
	n := len(digits)
	point := n + exp // digits before the decimal point
	size := max(point-1, 1-point)
	switch {
	case exp >= 0 && size < n+7:
		dst = append(dst, digits...)
		for range exp {
			dst = append(dst, '0')
		}
		return dst
	case exp < 0 && (exp > -7 || size < 4) && point <= 0:
		dst = append(dst, "0."...)
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	case exp < 0 && (exp > -7 || size < 4):
		return append(append(append(dst, digits[:point]...), '.'), digits[point:]...)
	}
	most := 18 // digits that are shown
	if negative {
		most--
	}
	dst = append(dst, digits[0])
	if n > 1 {
		dst = append(append(dst, '.'), digits[1:min(n, most)]...)
	}
	dst = append(dst, 'e')
	if point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(point-1), 10)
}

// scaled is the number frac × 2^exp.
type scaled struct {
	frac uint64
	exp  int
}

// times multiplies, and keeps the upper half of the product, rounded.
func (a scaled) times(b scaled) scaled {
	hi, lo := bits.Mul64(a.frac, b.frac)
	_, carry := bits.Add64(lo, 1<<63, 0)
	return scaled{hi + carry, a.exp + b.exp + 64}
}

// normal shifts frac until its highest bit is set.
func (a scaled) normal() scaled {
	n := bits.LeadingZeros64(a.frac)
	return scaled{a.frac << n, a.exp - n}
}

// The powers of ten that bring any double near 1 are firstPower, firstPower+powerStep and
// so on.
const (
	firstPower = -348
	powerStep  = 8
	powerCount = 87
)

// powersOfTen are these powers, each rounded to 64 bits.
var powersOfTen = sync.OnceValue(func() (out [powerCount]scaled) {
	for i := range out {
		k := firstPower + i*powerStep
		f := new(big.Float).SetPrec(64)
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(k, -k))), nil)
		if k >= 0 {
			f.SetInt(ten)
		} else {
			f.SetRat(new(big.Rat).SetFrac(big.NewInt(1), ten))
		}
		exp := f.MantExp(f) - 64
		frac, _ := f.SetMantExp(f, 64).Uint64()
		out[i] = scaled{frac, exp}
	}
	return out
})

// grisu returns digits and an exponent of ten that make up f, a positive number.
// Florian Loitsch describes the algorithm in "Printing Floating-Point Numbers Quickly and
// Accurately with Integers": all between low and high reads back as f, and digits of high
// are made until the rest that is left out is within that.
func grisu(dst []byte, f float64) (digits []byte, exp int) {
	const hidden = 1 << 52
	b := math.Float64bits(f)
	w := scaled{b & (hidden - 1), int(b >> 52)}
	if w.exp > 0 {
		w = scaled{w.frac | hidden, w.exp - 1075}
	} else {
		w.exp = -1074
	}
	high := scaled{w.frac<<1 + 1, w.exp - 1}.normal()
	low := scaled{w.frac<<1 - 1, w.exp - 1}
	if w.frac == hidden { // the next double below is half as far away
		low = scaled{w.frac<<2 - 1, w.exp - 2}
	}
	low = scaled{low.frac << (low.exp - high.exp), high.exp}

	i := int(-float64(high.exp+powerCount)*0.30102999566398114-firstPower) / powerStep
	powers := powersOfTen()
	for ; high.exp+powers[i].exp+64 < -60; i++ {
	}
	for ; high.exp+powers[i].exp+64 > -32; i-- {
	}
	p := powers[i]
	w, high, low = w.normal().times(p), high.times(p), low.times(p)
	low.frac++
	high.frac--
	digits, exp = makeDigits(dst, w, high, low)
	return digits, exp - firstPower - i*powerStep
}

// makeDigits makes the digits of a number between low and high, as near to w as that allows.
func makeDigits(dst []byte, w, high, low scaled) (digits []byte, exp int) {
	distance, delta := high.frac-w.frac, high.frac-low.frac
	shift := -high.exp
	one := uint64(1) << shift
	whole, part := high.frac>>shift, high.frac&(one-1)
	for exp, unit := 9, uint64(1_000_000_000); exp >= 0; exp, unit = exp-1, unit/10 {
		if d := whole / unit; d > 0 || len(dst) > 0 {
			dst = append(dst, '0'+byte(d))
		}
		whole %= unit
		if rest := whole<<shift + part; rest <= delta {
			return nearer(dst, delta, rest, unit<<shift, distance), exp
		}
	}
	for exp, unit := -1, uint64(10); ; exp, unit = exp-1, unit*10 {
		part *= 10
		delta *= 10
		if d := part >> shift; d > 0 || len(dst) > 0 {
			dst = append(dst, '0'+byte(d))
		}
		part &= one - 1
		if part < delta {
			return nearer(dst, delta, part, one, distance*unit), exp
		}
	}
}

// nearer lowers the last digit while that brings the digits closer to the exact value and
// keeps them above the lower end. All distances are measured down from the upper end: the
// digits are at rest, the exact value is at distance, the lower end is at delta. One step of
// the last digit is unit.
func nearer(digits []byte, delta, rest, unit, distance uint64) []byte {
	for rest < distance && delta-rest >= unit && (rest+unit < distance || distance-rest > rest+unit-distance) {
		digits[len(digits)-1]--
		rest += unit
	}
	return digits
}
