package stream

import (
	"bytes"
	"math"
	"math/big"
	"millrace/command"
	"regexp"
	"testing"
)

func TestParseInt(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"7", 7, true}, {"-7", -7, true}, {"9223372036854775807", math.MaxInt64, true},
		{"-9223372036854775808", math.MinInt64, true}, {"9223372036854775808", 0, false}, {"-9223372036854775809", 0, false},
		{"18446744073709551616", 0, false}, {"", 0, false}, {"-", 0, false}, {"-0", 0, false}, {"00", 0, false}, {"01", 0, false},
		{"+1", 0, false}, {" 1", 0, false}, {"1 ", 0, false}, {"1.0", 0, false}, {"1e3", 0, false}, {"0x1", 0, false},
	} {
		if got, ok := command.ParseInt([]byte(c.in)); got != c.want || ok != c.ok {
			t.Errorf("parseInt(%q) = %d, %v", c.in, got, ok)
		}
	}
}

func TestParseID(t *testing.T) {
	max := uint64(math.MaxUint64)
	for _, c := range []struct {
		in     string
		strict bool // for parseID; otherwise only for parseRangeID
		want   ID
		ok     bool
	}{
		{"1-2", true, ID{1, 2}, true},
		{"1", true, ID{1, 9}, true}, // 9 is the missing sequence number here
		{"01-02", true, ID{1, 2}, true},
		{" 9-1", true, ID{9, 1}, true},
		{"9- 1", true, ID{9, 1}, true},
		{"\t\n\v\f\r9-1", true, ID{9, 1}, true},
		{"+9-+1", true, ID{9, 1}, true},
		{"9- -1", true, ID{9, max}, true},     // strtoull negates it
		{"9--01", true, ID{9, max}, true},     // string2ll refuses it; strtoull negates it
		{"9--1", true, ID{}, false},           // string2ll reads it, and it is negative
		{"9--0", true, ID{9, 0}, true},        // string2ll refuses it
		{"1-2\x00junk", true, ID{1, 2}, true}, // a C string ends at the zero byte
		{"18446744073709551615-18446744073709551615", true, MaxID, true},
		{"18446744073709551616-0", true, ID{}, false},
		{"99999999999999999999999-0", true, ID{}, false},
		{"1-", true, ID{}, false}, {"-1-1", true, ID{}, false}, {"1-2-3", true, ID{}, false}, {"*-1", true, ID{}, false},
		{"9-+", true, ID{}, false}, {"9-*", true, ID{}, false}, {"*", true, ID{}, false}, {"", true, ID{}, false},
		{" ", true, ID{}, false}, {"9 -1", true, ID{}, false}, {"$", true, ID{}, false}, {"(1-1", true, ID{}, false},
		{"-", true, ID{}, false}, {"+", true, ID{}, false},
		{"-", false, ID{}, true}, {"+", false, MaxID, true},
		{string(bytes.Repeat([]byte("0"), 126)) + "1", true, ID{1, 9}, true},
		{string(bytes.Repeat([]byte("0"), 127)) + "1", true, ID{}, false},
	} {
		got, ok := parseID([]byte(c.in), 9)
		if !c.strict {
			got, ok = parseRangeID([]byte(c.in), 9)
		}
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q is %v, %v", c.in, got, ok)
		}
	}
}

var idPart = regexp.MustCompile(`^[ \t-\r]*([+-]?)([0-9]+)$`)

// slowIDPart reads half an ID with math/big.
func slowIDPart(b []byte) (uint64, bool) {
	m := idPart.FindSubmatch(b)
	if m == nil {
		return 0, false
	}
	n, _ := new(big.Int).SetString(string(m[2]), 10)
	if !n.IsUint64() {
		return 0, false
	}
	if string(m[1]) == "-" {
		if string(b[0]) == "-" && n.IsInt64() && n.Sign() > 0 && m[2][0] != '0' || string(b) == "-9223372036854775808" {
			return 0, false // string2ll reads a negative number
		}
		return -n.Uint64(), true
	}
	return n.Uint64(), true
}

// FuzzStreamID compares parseID with slowIDPart, and reads printed IDs back.
func FuzzStreamID(f *testing.F) {
	for _, s := range []string{"1-2", "1", "-", "+", " 9-1", "9--01", "18446744073709551615-18446744073709551616", "1-*", "(1", "1-2\x003"} {
		f.Add([]byte(s), uint64(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, missing uint64) {
		id, ok := parseID(b, missing)
		text, want, wantOK := b, ID{Seq: missing}, len(b) <= 127
		text, _, _ = bytes.Cut(text, []byte{0})
		ms, seq, hasSeq := bytes.Cut(text, []byte{'-'})
		if wantOK {
			want.MS, wantOK = slowIDPart(ms)
		}
		if wantOK && hasSeq {
			want.Seq, wantOK = slowIDPart(seq)
		}
		if ok != wantOK || ok && id != want {
			t.Fatalf("%q is %v, %v, not %v, %v", b, id, ok, want, wantOK)
		}
		if !ok {
			return
		}
		if again, ok := parseID([]byte(id.String()), 0); !ok || again != id {
			t.Errorf("%v is %v read back", id, again)
		}
		if rid, ok := parseRangeID(b, missing); !ok || rid != id {
			t.Errorf("%q is %v in a range", b, rid)
		}
		if key := id.appendBytes(nil); idFromBytes(key) != id {
			t.Errorf("%v is %v as bytes", id, idFromBytes(key))
		}
		if next, err := id.Succ(); err == nil {
			if back, err := next.Pred(); err != nil || back != id || !id.Less(next) || bytes.Compare(id.appendBytes(nil), next.appendBytes(nil)) >= 0 {
				t.Errorf("after %v comes %v, before which is %v", id, next, back)
			}
		}
	})
}
