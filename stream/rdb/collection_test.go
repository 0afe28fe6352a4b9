package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var (
	someFields = []Field{
		{[]byte("f"), []byte("v")}, {[]byte("12"), []byte("-5")}, {[]byte(""), []byte("")}, {[]byte("long"), []byte(strings.Repeat("x", 5000))},
	}
	someMembers = []Member{
		{[]byte("least"), math.Inf(-1), []byte("-inf")}, {[]byte("a"), -1.5, []byte("-1.5")}, {[]byte("7"), 0, []byte("0")},
		{[]byte(""), 3, []byte("3")}, {[]byte("b"), 1 << 40, []byte("1099511627776")}, {[]byte("z"), math.Inf(1), []byte("inf")},
	}
)

// collections are payloads of all types of hashes and sorted sets that are read.
func collections() [][]byte {
	zip := ziplistOf("f", "v", "12", "-5", "13", "100", "300", "-70000", "3000000000", strings.Repeat("y", 70), "0", "12", "1", strings.Repeat("z", 20000))
	old := appendLength([]byte{typeZSet}, 3)
	old = append(appendString(old, []byte("a")), 254)
	old = append(append(appendString(old, []byte("b")), 3), "1.5"...)
	old = append(appendString(old, []byte("c")), 255)
	meta := appendLength(append([]byte{typeHashMeta}, make([]byte, 8)...), 1)
	meta = appendString(appendString(appendLength(meta, 0), []byte("f")), []byte("v"))
	return [][]byte{
		EncodeHash(someFields, true), EncodeHash(someFields, false), EncodeZSet(someMembers, true), EncodeZSet(someMembers, false),
		seal(appendString([]byte{typeHashZiplist}, zip), 1), seal(appendString([]byte{typeZSetZiplist}, ziplistOf("a", "-1.5", "b", "3")), 1),
		seal(old, 1), seal(meta, 12),
		seal(appendString(append([]byte{typeHashListpackEx}, make([]byte, 8)...), listpackOf("f", "v", 0, 12, -5, 0)), 12),
	}
}

// ziplistOf makes a ziplist of strings, and of integers where they are the text of one.
func ziplistOf(elems ...string) []byte {
	b := make([]byte, ziplistHeader)
	before := 0
	for _, s := range elems {
		start := len(b)
		if before < 0xFE {
			b = append(b, byte(before))
		} else {
			b = binary.LittleEndian.AppendUint32(append(b, 0xFE), uint32(before))
		}
		v, isInt := integer([]byte(s))
		switch {
		case isInt && 0 <= v && v <= 12:
			b = append(b, 0xF1+byte(v))
		case isInt && v == int64(int8(v)):
			b = append(b, 0xFE, byte(v))
		case isInt && v == int64(int16(v)):
			b = binary.LittleEndian.AppendUint16(append(b, 0xC0), uint16(v))
		case isInt && v == v<<40>>40:
			b = append(b, 0xF0, byte(v), byte(v>>8), byte(v>>16))
		case isInt && v == int64(int32(v)):
			b = binary.LittleEndian.AppendUint32(append(b, 0xD0), uint32(v))
		case isInt:
			b = binary.LittleEndian.AppendUint64(append(b, 0xE0), uint64(v))
		case len(s) < 1<<6:
			b = append(append(b, byte(len(s))), s...)
		case len(s) < 1<<14:
			b = append(append(b, 0x40|byte(len(s)>>8), byte(len(s))), s...)
		default:
			b = append(binary.BigEndian.AppendUint32(append(b, 0x80), uint32(len(s))), s...)
		}
		before = len(b) - start
	}
	b = append(b, listpackEnd)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-1-before))
	binary.LittleEndian.PutUint16(b[8:], uint16(len(elems)))
	return b
}

// sameCollection encodes a hash or a sorted set in both forms, and reads it again.
func sameCollection(t *testing.T, v Value) {
	t.Helper()
	for i := range v.ZSet {
		v.ZSet[i].Text = strconv.AppendFloat(nil, v.ZSet[i].Score, 'g', -1, 64)
		if math.IsInf(v.ZSet[i].Score, 0) {
			v.ZSet[i].Text = []byte(strings.ToLower(strings.TrimPrefix(string(v.ZSet[i].Text), "+")))
		}
	}
	for _, compact := range []bool{true, false} {
		payload := EncodeZSet(v.ZSet, compact)
		if v.Hash != nil {
			payload = EncodeHash(v.Hash, compact)
		}
		again, err := Decode(payload, Budget{Left: 1 << 24})
		if err != nil {
			t.Fatalf("%+v is written as %x and refused: %v", v, payload, err)
		}
		hash, zset := map[string]string{}, map[string]float64{}
		for _, f := range again.Hash {
			hash[string(f.Name)] = string(f.Value)
		}
		for _, m := range again.ZSet {
			zset[string(m.Name)] = m.Score
		}
		for _, f := range v.Hash {
			if got, ok := hash[string(f.Name)]; !ok || got != string(f.Value) {
				t.Fatalf("%q is %q, not %q", f.Name, got, f.Value)
			}
		}
		for _, m := range v.ZSet {
			if got, ok := zset[string(m.Name)]; !ok || got != m.Score {
				t.Fatalf("%q is %v, not %v", m.Name, got, m.Score)
			}
		}
		if len(hash) != len(v.Hash) || len(zset) != len(v.ZSet) {
			t.Fatalf("%d fields and %d members are read again", len(hash), len(zset))
		}
	}
}

// TestCollections reads every type of hash and sorted set.
func TestCollections(t *testing.T) {
	for i, payload := range collections() {
		v, err := Decode(payload, Budget{Left: 1 << 20})
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		sameCollection(t, v)
	}
	v, err := Decode(EncodeHash(someFields, true), Budget{Left: 1 << 20})
	if err != nil || !reflect.DeepEqual(v.Hash, someFields) {
		t.Errorf("%v, %v", v.Hash, err)
	}
}

// TestHostileCollections reads payloads that no Redis writes.
func TestHostileCollections(t *testing.T) {
	row := func(kind byte, b []byte) []byte { return appendString([]byte{kind}, b) }
	cut := ziplistOf("a", "1")
	cut[len(cut)-2] = 0xFB + 4 // no element begins so
	counted := ziplistOf("a", "1")
	counted[8]++
	ttl := append([]byte{typeHashMeta}, make([]byte, 8)...)
	ttl = appendString(appendString(appendLength(appendLength(ttl, 1), 5), []byte("f")), []byte("v"))
	nan := binary.LittleEndian.AppendUint64(appendString(appendLength([]byte{typeZSet2}, 1), []byte("a")), math.Float64bits(math.NaN()))
	for name, c := range map[string]struct {
		value []byte
		want  error
	}{
		"empty hash":          {appendLength([]byte{typeHash}, 0), ErrFormat},
		"empty listpack":      {row(typeHashListpack, listpackOf()), ErrFormat},
		"empty sorted set":    {appendLength([]byte{typeZSet2}, 0), ErrFormat},
		"odd listpack":        {row(typeHashListpack, listpackOf("a", "b", "c")), ErrFormat},
		"a field twice":       {row(typeHashListpack, listpackOf("a", 1, "a", 2)), ErrFormat},
		"a member twice":      {row(typeZSetListpack, listpackOf("a", 1, "a", 2)), ErrFormat},
		"an integer twice":    {row(typeHashListpack, listpackOf(1, 1, 1, 2)), ErrFormat},
		"no score":            {row(typeZSetListpack, listpackOf("a", "x")), ErrFormat},
		"NaN":                 {row(typeZSetListpack, listpackOf("a", "nan")), ErrFormat},
		"NaN in bytes":        {nan, ErrFormat},
		"NaN in an old one":   {append(appendString(appendLength([]byte{typeZSet}, 1), []byte("a")), 253), ErrFormat},
		"time to live":        {ttl, ErrFieldTTL},
		"time in a listpack":  {appendString(append([]byte{typeHashListpackEx}, make([]byte, 8)...), listpackOf("f", "v", 5)), ErrFieldTTL},
		"broken ziplist":      {row(typeHashZiplist, cut), ErrFormat},
		"ziplist of others":   {row(typeHashZiplist, counted), ErrFormat},
		"many fields":         {appendLength([]byte{typeHash}, 1<<40), ErrFormat},
		"bytes left over":     {append(appendString(appendString(appendLength([]byte{typeHash}, 1), []byte("f")), []byte("v")), 0), ErrFormat},
		"types before 7.4 GA": {append([]byte{22}, make([]byte, 20)...), ErrFormat},
	} {
		if _, err := Decode(seal(c.value, maxVersion), Budget{Left: 1 << 20}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var many []Field
	for i := range 2000 {
		many = append(many, Field{fmt.Appendf(nil, "%d", i), nil})
	}
	if _, err := Decode(EncodeHash(many, false), Budget{Left: 100_000, Record: 40}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond the budget: %v", err)
	}
	for _, payload := range collections() { // cut off at any place
		for n := range len(payload) - footerBytes {
			if v, err := Decode(seal(payload[:n:n], 1), Budget{Left: 1 << 20}); err == nil {
				t.Errorf("%x is read as %+v", payload[:n], v)
			}
		}
	}
}
