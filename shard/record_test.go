package shard

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"millrace/call"
)

// The bytes of a record are kept on disk and read by other versions, so they must not
// change by accident.
func TestRecordGolden(t *testing.T) {
	b := appendRecordHeader(nil, recordHeader{origin: 0x0102030405060708, seq: 9, term: 3, nowMS: 1_700_000_000_123, calls: 2})
	b = appendCall(b, false, [][][]byte{words("XADD", "s", "*", "a", "")})
	b = appendCall(b, true, [][][]byte{words("SET", "x", strings.Repeat("y", 130)), words("GET", "x")})
	const want = "01" + "0102030405060708" + "0000000000000009" + "0000000000000003" + "0000018bcfe5687b" + "00000002" +
		"00" + "01" + "05" + "0458414444" + "0173" + "012a" + "0161" + "00" +
		"01" + "02" + "03" + "03534554" + "0178" + "8201"
	got := hex.EncodeToString(b)
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "02"+"03474554"+"0178") {
		t.Fatalf("bytes\n%s\nwant\n%s…", got, want)
	}
	const line = `origin=0102030405060708 seq=9 term=3 now=1700000000123 ["XADD" "s" "*" "a" ""] multi ["SET" "x" "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"…130] ["GET" "x"]`
	if got := PrintRecord(b); got != line {
		t.Fatalf("printed\n%s\nwant\n%s", got, line)
	}
	first := appendRecordHeader(nil, recordHeader{origin: 1, seq: 1, term: 2, nowMS: 5})
	if got := PrintRecord(first); got != "origin=0000000000000001 seq=1 term=2 now=5 (new term)" {
		t.Fatalf("printed %s", got)
	}
}

func TestRecordRefused(t *testing.T) {
	good := appendCall(appendRecordHeader(nil, recordHeader{calls: 1}), false, [][][]byte{words("A", "b")})
	if _, err := decodeRecord(good); err != nil {
		t.Fatal(err)
	}
	head := func(calls int) []byte { return appendRecordHeader(nil, recordHeader{calls: calls}) }
	for name, b := range map[string][]byte{
		"empty":          {},
		"format":         append([]byte{2}, good[1:]...),
		"header":         good[:recordHeaderLen-1],
		"no call":        head(1),
		"many calls":     head(1 << 30),
		"flags":          append(head(1), 2, 1, 1, 0),
		"no commands":    append(head(1), 0, 0),
		"no words":       append(head(1), 0, 1, 0),
		"long word":      append(head(1), 0, 1, 1, 5, 'a'),
		"endless number": append(head(1), 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"huge number":    append(head(1), 0, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"trailing":       append(bytes.Clone(good), 0),
		"cut":            good[:len(good)-1],
	} {
		if _, err := decodeRecord(b); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasPrefix(PrintRecord(b), "?") {
			t.Errorf("%s: printed %s", name, PrintRecord(b))
		}
	}
}

// encodeAgain encodes the record that decodeRecord has read.
func encodeAgain(r record) []byte {
	b := appendRecordHeader(nil, r.recordHeader)
	for _, c := range r.list {
		b = appendCall(b, c.multi, c.cmds)
	}
	return b
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecordHeader(nil, recordHeader{}))
	f.Add(appendCall(appendRecordHeader(nil, recordHeader{origin: 1, seq: 2, term: 3, nowMS: -4, calls: 1}), true,
		[][][]byte{words("XADD", "s", "*", "f", "v"), words("")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		_ = PrintRecord(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		again := encodeAgain(r)
		r2, err := decodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, encodeAgain(r2)) {
			t.Fatalf("%x became %x", again, encodeAgain(r2))
		}
		size := recordHeaderLen
		for _, c := range r.list {
			size += callSize(&call.Call{Cmds: c.cmds, Multi: c.multi})
		}
		if size != len(again) {
			t.Fatalf("size %d, counted %d", len(again), size)
		}
		if origin, seq, ok := recordOrigin(b); !ok || origin != r.origin || seq != r.seq {
			t.Fatalf("origin %d %d %v", origin, seq, ok)
		}
	})
}

func FuzzSnapHeader(f *testing.F) {
	h := snapHeader{shard: 7, firstSlot: 1, lastSlot: 2, applied: applied{3, 4, 5}, files: []snapFile{{size: 6}, {size: 7}}}
	f.Add(h.encode())
	f.Add((&snapHeader{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := snapHeaderLen(b)
		if err != nil || n == 0 || n > len(b) {
			return
		}
		h, err := decodeSnapHeader(b[:n])
		if err != nil {
			return
		}
		if got := h.encode(); !bytes.Equal(got, b[:n]) {
			t.Fatalf("%x became %x", b[:n], got)
		}
	})
}

func TestAppliedGolden(t *testing.T) {
	a := applied{index: 0x0102, term: 3, clockMS: 1_700_000_000_123}
	if got := hex.EncodeToString(a.encode()); got != "01"+"0000000000000102"+"0000000000000003"+"0000018bcfe5687b" {
		t.Fatal(got)
	}
	if back, err := decodeApplied(a.encode()); err != nil || back != a {
		t.Fatal(back, err)
	}
	if _, err := decodeApplied([]byte{2}); err == nil {
		t.Fatal("no error")
	}
}
