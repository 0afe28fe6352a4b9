package rdb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// plenty is a budget that is large enough for the tests that do not test budgets.
var plenty = Budget{Left: 1 << 20}

func TestChecksum(t *testing.T) {
	if got := checksum([]byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("checksum is %x", got)
	}
}

func TestFooter(t *testing.T) {
	good := seal([]byte{typeString, 0}, versionStream2)
	for _, c := range []struct {
		name    string
		payload []byte
		err     error
	}{
		{"right", good, nil},
		{"newest version", seal([]byte{typeString, 0}, maxVersion), nil},
		{"too new", seal([]byte{typeString, 0}, maxVersion+1), ErrFooter},
		{"nothing", nil, ErrFooter},
		{"too short for a footer", good[3:], ErrFooter},
		{"no value", seal(nil, versionStream2), ErrFormat},
		{"no checksum", append(slices.Clone(good[:len(good)-8]), make([]byte, 8)...), ErrFooter},
		{"another value", append([]byte{typeStream}, good[1:]...), ErrFooter},
		{"another version", append(slices.Concat(good[:2], []byte{9}), good[3:]...), ErrFooter},
	} {
		if _, err := Decode(c.payload, plenty); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestStrings reads each encoding of a string, and writes those that Redis would write.
func TestStrings(t *testing.T) {
	long := strings.Repeat("x", 70)
	for _, c := range []struct {
		value string // in hex
		want  string
		write bool
	}{
		{"00", "", true},
		{"0161", "a", true},
		{"c0ff", "-1", true},
		{"c07f", "127", true},
		{"c18000", "128", true},
		{"c10080", "-32768", true},
		{"c200800000", "32768", true},
		{"c200000080", "-2147483648", true},
		{"0a32313437343833363438", "2147483648", true}, // does not fit 32 bits
		{"023031", "01", true},
		{"022d30", "-0", true},
		{"022b31", "+1", true},
		{"4046" + hex.EncodeToString([]byte(long)), long, true},
		{"8000000046" + hex.EncodeToString([]byte(long)), long, false},
		{"810000000000000001" + "61", "a", false},
		{"c3050a" + "0061e00000", strings.Repeat("a", 10), false},
	} {
		raw, err := hex.DecodeString(c.value)
		if err != nil {
			t.Fatal(err)
		}
		payload := seal(append([]byte{typeString}, raw...), versionStream2)
		got, err := Decode(payload, plenty)
		if err != nil || string(got.String) != c.want || got.Stream != nil {
			t.Errorf("%s is read as %q, %v", c.value, got.String, err)
		}
		if again := EncodeString([]byte(c.want)); c.write && !bytes.Equal(again, payload) {
			t.Errorf("%q is written as %x, not %x", c.want, again, payload)
		}
	}
	for _, value := range []string{
		"", "01", "40", "4001", "80", "8000", "82", "bf", "c0", "c101", "c2010203", "c4", "ff", "81ffffffffffffffff",
		"c3", "c30501", "c3050a0061e000", "c3050b0061e00000", "c3050981ffffffffffffffff", "c303810000000100000000" + "006100",
		"c3c003", "0061", "c0ff00",
	} {
		raw, _ := hex.DecodeString(value)
		if got, err := Decode(seal(append([]byte{typeString}, raw...), versionStream2), plenty); !errors.Is(err, ErrFormat) {
			t.Errorf("%s is read as %q, %v", value, got.String, err)
		}
	}
}

func TestLZF(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"00" + "61", "a"},
		{"02616263", "abc"},
		{"0061" + "2000", "aaaa"},         // three bytes from one before
		{"01" + "6162" + "2001", "ababa"}, // they reach into themselves
		{"0061" + "e0ff00", "a" + strings.Repeat("a", 264)}, // the longest run
		{"1f" + strings.Repeat("62", 32), strings.Repeat("b", 32)},
	} {
		in, _ := hex.DecodeString(c.in)
		if got, err := lzfDecompress(in, len(c.want)); err != nil || string(got) != c.want {
			t.Errorf("%s is %q, %v", c.in, got, err)
		}
		for _, size := range []int{max(len(c.want)-1, 1), len(c.want) + 1} {
			if _, err := lzfDecompress(in, size); err == nil && size != len(c.want) {
				t.Errorf("%s is of %d bytes too", c.in, size)
			}
		}
	}
	for _, text := range []string{"00", "0161", "20", "2000", "006120", "0061e0", "0061e000", "00612001"} {
		in, _ := hex.DecodeString(text)
		for size := range 20 {
			if got, err := lzfDecompress(in, size); err == nil {
				t.Errorf("%s is %q", text, got)
			}
		}
	}
}

// TestElements writes integers and strings of each encoding and reads them again.
func TestElements(t *testing.T) {
	sizes := map[string]int{ // of the element, with its size at the end
		"0": 2, "127": 2, "128": 3, "4095": 3, "4096": 4, "-1": 3, "-4096": 3, "-4097": 4, "32767": 4, "32768": 5,
		"-32769": 5, "8388607": 5, "-8388608": 5, "8388608": 6, "-8388609": 6, "2147483647": 6, "2147483648": 10,
		"-2147483648": 6, "-2147483649": 10, "9223372036854775807": 10, "-9223372036854775808": 10,
		"9223372036854775808": 21, "007": 5, "": 2, "a": 3,
		strings.Repeat("a", 63): 65, strings.Repeat("a", 64): 67, strings.Repeat("a", 126): 130,
		strings.Repeat("a", 4095): 4099, strings.Repeat("a", 4096): 4103,
		strings.Repeat("a", 16377): 16384, strings.Repeat("a", 16378): 16386,
		strings.Repeat("a", 2097145): 2097153, strings.Repeat("a", 2097146): 2097155,
	}
	for text, size := range sizes {
		w := beginListpack(nil)
		w.string([]byte(text))
		b := w.finish()
		if got := len(b) - listpackHeader - 1; got != size {
			t.Errorf("%.30q of %d bytes takes %d, not %d", text, len(text), got, size)
		}
		l, err := openListpack(b)
		if err != nil {
			t.Fatal(err)
		}
		got := string(l.next().text())
		if err := l.close(b); err != nil || got != text {
			t.Errorf("%.30q reads as %.30q, %v", text, got, err)
		}
	}
}

func TestListpackRefused(t *testing.T) {
	for _, c := range []string{
		"", "ff", "060000000000", "08000000000" + "0ff", "0700000000", "0800000000" + "00ff", // sizes
		"07000000000000",            // no end
		"090000000200" + "0101ff",   // counts two
		"0900000001000101" + "00",   // ends with something else
		"0900000001000102ff",        // an element that ends with a wrong size
		"080000000100" + "01ff",     // … with none
		"090000000100" + "8101ff",   // a string that is longer than the listpack
		"090000000100" + "ff01ff",   // not an element
		"090000000100" + "f601ff",   // likewise
		"0a0000000100" + "f10102ff", // an integer that is too short
	} {
		b, err := hex.DecodeString(c)
		if err != nil {
			b = []byte(c)
		}
		if l, err := openListpack(b); err == nil {
			l.next()
			if err := l.close(b); err == nil {
				t.Errorf("%s is taken", c)
			}
		}
	}
}

// example returns a stream with every part that a payload of Redis 7.0 can have.
func example() *Stream {
	word := func(s ...string) (out [][]byte) {
		for _, w := range s {
			out = append(out, []byte(w))
		}
		return out
	}
	return &Stream{
		Chunks: []Chunk{
			{ID: ID{1, 1}, Entries: []Entry{{ID{1, 1}, word("f", "v")}, {ID{2, 0}, word("f", "12")}}},
			{ID: ID{3, 0}, Entries: []Entry{{ID{3, 5}, word("f", "v", "g", "")}, {ID{3, 6}, word("f", "v")}}},
		},
		Length: 4, Last: ID{9, 0}, MaxDeleted: ID{2, 5}, Added: 12,
		Groups: []Group{
			{Name: []byte("g"), Delivered: ID{3, 6}, EntriesRead: -1,
				Pending: []Pending{
					{ID: ID{1, 1}, DeliveredMS: 1000, Deliveries: 1, Owner: 1},
					{ID: ID{1, 2}, DeliveredMS: 1001, Deliveries: math.MaxInt64, Owner: 0},
					{ID: ID{3, 6}, DeliveredMS: 1002, Deliveries: 3, Owner: 1},
				},
				Consumers: []Consumer{{[]byte("12"), 1001, 1001}, {[]byte("bob"), 1003, 1003}}},
			{Name: []byte("h"), Delivered: ID{}, EntriesRead: 7},
		},
	}
}

// normal returns s as it is after encoding and decoding, which drop the deleted entries of
// chunks.
func normal(s *Stream) *Stream {
	out := *s
	out.Chunks = slices.Clone(s.Chunks)
	for i := range out.Chunks {
		n := &out.Chunks[i]
		n.Last, n.Deleted, n.Bytes = n.end(), 0, 0
		n.Fields = nil
	}
	return &out
}

func same(a, b *Stream) bool {
	return reflect.DeepEqual(normal(a), normal(b)) || fmt.Sprintf("%v", normal(a)) == fmt.Sprintf("%v", normal(b))
}

// TestStreamTypes checks the type and version that a stream is written with, and that it
// reads back the same.
func TestStreamTypes(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(s *Stream)
		kind    byte
		version byte
	}{
		{"plain", func(*Stream) {}, typeStream2, versionStream2},
		{"empty", func(s *Stream) { *s = Stream{} }, typeStream2, versionStream2},
		{"seen after it was active", func(s *Stream) { s.Groups[0].Consumers[0].SeenMS++ }, typeStream2, versionStream2},
		{"never active", func(s *Stream) { s.Groups[0].Consumers[0].ActiveMS = -1 }, typeStream2, versionStream2},
		{"idempotent", func(s *Stream) {
			s.IDMP = &IDMP{Seconds: 1, MaxSize: 2, Added: 3, Duplicates: 4, Producers: []Producer{
				{Name: []byte("p"), IIDs: []IID{{[]byte("1"), ID{1, 1}}, {[]byte("x"), ID{2, 0}}}},
				{Name: []byte("q")},
			}}
		}, typeStream4, versionStream4},
		{"released", func(s *Stream) {
			s.IDMP = &IDMP{Seconds: 1, MaxSize: 2}
			s.Groups[0].Pending[0] = Pending{ID: ID{1, 1}, Owner: Nobody, Place: 1}
			s.Groups[0].Pending[2] = Pending{ID: ID{3, 6}, Owner: Nobody}
		}, typeStream5, versionStream5},
	} {
		s := example()
		c.change(s)
		payload := EncodeStream(s)
		if payload[0] != c.kind || payload[len(payload)-footerBytes] != c.version {
			t.Errorf("%s: type %d, version %d", c.name, payload[0], payload[len(payload)-footerBytes])
		}
		v, err := Decode(payload, plenty)
		if err != nil || !same(s, v.Stream) {
			t.Errorf("%s\n  is %+v\nreads %+v\n%v", c.name, normal(s), v.Stream, err)
		}
	}
}

// TestGolden compares an encoded stream with its bytes.
func TestGolden(t *testing.T) {
	s := example()
	s.Groups[0].Consumers[0].ActiveMS = -1
	want := strings.Join([]string{
		"13", "02", // type, chunks
		"10" + "0000000000000001" + "0000000000000001", "28", // key and size of the first
		"28000000" + "0f00",                                // listpack: bytes, elements
		"0201" + "0001" + "0101" + "816602" + "0001",       // live, dead, fields: f
		"0201" + "0001" + "0001" + "817602" + "0401",       // 1-1: same fields, v
		"0201" + "0101" + "dfff02" + "0c01" + "0401", "ff", // 2-0: 1 ms on, -1 in sequence, 12
		"10" + "0000000000000003" + "0000000000000000", "32", // the second
		"32000000" + "1300", //
		"0201" + "0001" + "0201" + "816602" + "816702" + "0001",                // fields: f, g
		"0201" + "0001" + "0501" + "817602" + "8001" + "0501",                  // 3-5: v, nothing
		"0001" + "0001" + "0601" + "0101" + "816602" + "817602" + "0601", "ff", // 3-6: f, v
		"04", "0900", "0101", "0205", "0c", // length, last, first, greatest deleted, added
		"02", "0167", "0306", "81ffffffffffffffff", // groups: g
		"03",
		"00000000000000010000000000000001" + "e803000000000000" + "01",
		"00000000000000010000000000000002" + "e903000000000000" + "817fffffffffffffff",
		"00000000000000030000000000000006" + "ea03000000000000" + "03",
		"02",
		"c00c" + "e903000000000000" + "01" + "00000000000000010000000000000002",
		"03626f62" + "eb03000000000000" + "02" + "00000000000000010000000000000001" + "00000000000000030000000000000006",
		"0168", "0000", "07", "00", "00", // h
		"4d5241", "ffffffffffffffff" + "eb03000000000000", // when they were active
		"0a00",
	}, "")
	got := EncodeStream(s)
	if hex.EncodeToString(got[:len(got)-8]) != want {
		t.Errorf("%x\nis not\n%s", got, want)
	}
	if sum := binary.LittleEndian.Uint64(got[len(got)-8:]); sum != checksum(got[:len(got)-8]) {
		t.Errorf("checksum %x", sum)
	}
}

// TestOlderTypes reads streams that Redis 5 and 7.2 have written.
func TestOlderTypes(t *testing.T) {
	groups := "0167" + "0200" + // g, at 2-0
		"01" + "00000000000000010000000000000001" + "e803000000000000" + "05" +
		"01" + "0161" + "e903000000000000"
	owned := "01" + "00000000000000010000000000000001"
	chunk := "01" + "10" + "0000000000000001" + "0000000000000001" + "28" + "28000000" + "0f00" +
		"0201" + "0001" + "0101" + "816602" + "0001" + "0201" + "0001" + "0001" + "817602" + "0401" +
		"0201" + "0101" + "dfff02" + "0c01" + "0401" + "ff"
	for _, c := range []struct {
		name, value      string
		added            uint64
		read, activeMS   int64
		maxDeleted, last ID
	}{
		{"Redis 5", "0f" + chunk + "02" + "0200" + "01" + groups + owned, 2, 2, 1001, ID{}, ID{2, 0}},
		{"Redis 5, further on", "0f" + chunk + "02" + "0900" + "01" + groups + owned, 2, -1, 1001, ID{}, ID{9, 0}},
		{"Redis 7.2", "15" + chunk + "02" + "0900" + "0101" + "0105" + "0c" + "01" +
			"0167" + "0200" + "04" + groups[8:] + "f201000000000000" + owned, 12, 4, 498, ID{1, 5}, ID{9, 0}},
	} {
		raw, err := hex.DecodeString(c.value)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Decode(seal(raw, 9), plenty)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s := v.Stream
		g := s.Groups[0]
		if s.Added != c.added || s.MaxDeleted != c.maxDeleted || s.Last != c.last || g.EntriesRead != c.read ||
			g.Consumers[0].ActiveMS != c.activeMS || g.Consumers[0].SeenMS != 1001 || g.Pending[0].Owner != 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// TestReadUpTo estimates the entries that a group of Redis 5 has read.
func TestReadUpTo(t *testing.T) {
	s := &Stream{Chunks: []Chunk{{Entries: []Entry{{ID: ID{3, 0}}}}}, Length: 4, Added: 4, Last: ID{9, 0}}
	for _, c := range []struct {
		id   ID
		want int64
	}{{ID{}, 0}, {ID{2, 9}, 0}, {ID{3, 0}, 1}, {ID{3, 1}, -1}, {ID{9, 0}, 4}, {ID{9, 1}, -1}} {
		if got := s.readUpTo(c.id); got != c.want {
			t.Errorf("up to %v it has read %d", c.id, got)
		}
	}
	if got := (&Stream{Last: ID{9, 0}}).readUpTo(ID{9, 0}); got != 0 {
		t.Errorf("of an empty stream it has read %d", got)
	}
}
