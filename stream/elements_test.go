package stream

import (
	"bytes"
	"math"
	"math/big"
	"slices"
	"strconv"
	"testing"
)

// TestSortable checks that the bytes of scores are in the order of numbers.
func TestSortable(t *testing.T) {
	scores := []float64{
		math.Inf(-1), -math.MaxFloat64, -1e300, -2, -1.5, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 0.1, 1,
		math.Nextafter(1, 2), 1.5, 2, 1 << 53, 1e300, math.MaxFloat64, math.Inf(1),
	}
	var keys [][]byte
	for _, s := range scores {
		for _, member := range []string{"", "\x00", "a", "a\x00", "b", "\xff"} {
			keys = append(keys, appendScored(nil, s, []byte(member)))
		}
		if got := scoreOf(sortable(s)); got != s {
			t.Errorf("%v is read as %v", s, got)
		}
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Error("the keys are not in order")
	}
	for score, want := range map[float64]uint64{-1: 0x400fffffffffffff, 0: 1 << 63, 1: 0xbff0000000000000} {
		if got := sortable(score); got != want {
			t.Errorf("%v is %x, not %x", score, got, want)
		}
	}
}

func TestParseDouble(t *testing.T) {
	for text, want := range map[string]float64{
		"0": 0, "-0": 0, "+1.5": 1.5, ".5": 0.5, "1.": 1, "1e3": 1000, "1E-3": 0.001, "0x10": 16, "0x.8": 0.5, "0X1.8P1": 3, "007": 7, "inf": math.Inf(1),
		"-Infinity": math.Inf(-1), "0e-99999999999999999999999": 0, "4.9e-324": math.SmallestNonzeroFloat64, "1e+5": 1e5,
	} {
		got, ok := parseDouble([]byte(text))
		if !ok || got != want || math.Signbit(got) != math.Signbit(want) {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", " 1", "1 ", "nan", "x", "1e", "1e+", "e1", ".", "+", "-", "0x", "0xp1", "0x1p", "1_0", "0b1", "0o7", "1e400", "-1e400", "1e-400", "1e99999999999999999999",
		"1e-99999999999999999999", "infinit", "1\x00", "1..2", "--1", "1f", "1e1.5",
	} {
		if got, ok := parseDouble([]byte(text)); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestParseScoreBound(t *testing.T) {
	for text, want := range map[string]float64{
		"": 0, "1": 1, "+inf": math.Inf(1), "1e400": math.Inf(1), "-1e400": math.Inf(-1), "1e-400": 0, "-0": 0, "1\x00x": 1,
	} {
		if got, ok := parseScoreBound([]byte(text)); !ok || got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{" 1", "1 ", "nan", "(", "0x10", "-", "+"} {
		if got, ok := parseScoreBound([]byte(text)); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// TestLongDoubles compares sums with those of Redis on an x86-64.
func TestLongDoubles(t *testing.T) {
	for _, c := range []struct{ a, b, sum string }{
		{"10.50", "0.1", "10.6"}, {"5.0e3", "200", "5200"}, {"0.1", "0.2", "0.3"}, {"0", "1e17", "100000000000000000"}, {"0", "1e-18", "0"}, {"0", "-1e-20", "0"},
		{"0", "123456789.123456789012345", "123456789.12345678901328938"}, {"0", "-1234567890123456789.5", "-1234567890123456789.5"}, {"0x10", "1", "17"},
		{"0", "3.0e-5", "0.00003"}, {"1.5", "-1.5", "0"}, {"0.000000000000000005", "0.99999999999999999999", "1"}, {"1e4932", "1e4932", ""}, {"inf", "1", ""},
		{"inf", "-inf", ""}, {"-0", "-0", "0"},
	} {
		a, ok := parseLongDouble([]byte(c.a))
		b, ok2 := parseLongDouble([]byte(c.b))
		if !ok || !ok2 {
			t.Errorf("%s or %s is refused", c.a, c.b)
			continue
		}
		sum, ok := addLongDoubles(a, b)
		if !ok {
			sum = new(big.Float)
		}
		if got := string(appendLongDouble(nil, sum)); ok != (c.sum != "") || ok && got != c.sum {
			t.Errorf("%s + %s is %s, %v", c.a, c.b, got, ok)
		}
	}
	for _, text := range []string{"1e4933", "1e-4951", "1e-5000", "1e99999999999999", "nan", "", " 1", "1_0", "1/2", "0b1"} {
		if _, ok := parseLongDouble([]byte(text)); ok {
			t.Errorf("%q is taken", text)
		}
	}
}

// FuzzFloats reads arbitrary bytes as numbers. Texts that Go accepts too must have the same
// value.
func FuzzFloats(f *testing.F) {
	for _, s := range []string{"1", "-0x1.8p3", "1e-400", "inf", "1_0", "0e99999999999", "0x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := parseDouble(b)
		if want, err := strconv.ParseFloat(string(b), 64); ok && err == nil && want != v {
			t.Errorf("%q is %v, not %v", b, v, want)
		}
		if sum, ok := parseLongDouble(b); ok {
			appendLongDouble(nil, sum)
		}
		parseScoreBound(b)
	})
}
