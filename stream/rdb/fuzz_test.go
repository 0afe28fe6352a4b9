package rdb

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzRDBStream decodes arbitrary values. A value that is accepted must encode and decode to
// the same value, and encode to the same bytes once more.
func FuzzRDBStream(f *testing.F) {
	for _, kind := range []byte{typeStream, typeStream2, typeStream3, typeStream4, typeStream5} {
		p := goodParts()
		p.older()
		p.kind = kind
		if kind == typeStream5 {
			p = goodParts()
		}
		f.Add(p.value())
	}
	e := EncodeStream(example())
	f.Add(e[:len(e)-footerBytes])
	e = EncodeString([]byte("text"))
	f.Add(e[:len(e)-footerBytes])
	for _, c := range collections() {
		f.Add(c[:len(c)-footerBytes])
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := Decode(seal(bytes.Clone(value), maxVersion), Budget{Left: 1 << 20, Record: 40})
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrFieldTTL) {
				t.Fatalf("%v", err)
			}
			return
		}
		if v.Hash != nil || v.ZSet != nil {
			sameCollection(t, v)
			return
		}
		if v.Stream == nil {
			again, err := Decode(EncodeString(v.String), Budget{})
			if err != nil || !bytes.Equal(again.String, v.String) {
				t.Fatalf("%q is read again as %q, %v", v.String, again.String, err)
			}
			return
		}
		payload := EncodeStream(v.Stream)
		again, err := Decode(payload, Budget{Left: 1 << 22})
		if err != nil {
			t.Fatalf("%+v\nis written as %x\nand refused: %v", v.Stream, payload, err)
		}
		if !same(v.Stream, again.Stream) {
			t.Fatalf("%+v\nis read again as\n%+v", v.Stream, again.Stream)
		}
		if third := EncodeStream(again.Stream); !bytes.Equal(payload, third) {
			t.Fatalf("written as\n%x and\n%x", payload, third)
		}
	})
}

// FuzzListpack reads arbitrary bytes as a listpack, and writes and reads its elements again.
func FuzzListpack(f *testing.F) {
	f.Add(listpackOf(0, 1, -1, 127, 128, 4095, -4096, 1<<15, 1<<23, 1<<31, 1<<40, "", "a", "007"))
	f.Add(listpackOf())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := openListpack(b)
		if err != nil {
			return
		}
		w := beginListpack(nil)
		var elems []element
		for len(l.b) > 0 && l.err == nil {
			e := l.next()
			elems = append(elems, e)
			if e.str == nil {
				w.integer(e.num)
			} else {
				w.string(e.str)
			}
		}
		if l.close(b) != nil {
			return
		}
		out := w.finish()
		again, err := openListpack(out)
		if err != nil || len(out) > len(b) {
			t.Fatalf("%x is written as %x: %v", b, out, err)
		}
		for _, e := range elems {
			if got := again.next(); !bytes.Equal(got.text(), e.text()) {
				t.Fatalf("%q comes back as %q", e.text(), got.text())
			}
		}
		if err := again.close(out); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLZF decompresses arbitrary bytes. It also decompresses them after packing them as
// literal runs.
func FuzzLZF(f *testing.F) {
	f.Add([]byte("\x00a\xe0\xff\x00"), 265)
	f.Add([]byte("\x01ab\x20\x01"), 5)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 0 || size > len(in)*lzfMaxGrowth {
			size = len(in)
		}
		if out, err := lzfDecompress(in, size); err == nil && len(out) != size {
			t.Fatalf("%x has become %d bytes, not %d", in, len(out), size)
		}
		// Literal runs must decompress to the input.
		var plain []byte
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 32)
			plain = append(append(plain, byte(n-1)), rest[:n]...)
			rest = rest[n:]
		}
		if out, err := lzfDecompress(plain, len(in)); err != nil || !bytes.Equal(out, in) {
			t.Fatalf("%x has become %x: %v", in, out, err)
		}
	})
}
