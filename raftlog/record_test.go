package raftlog

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/hashicorp/raft"
)

// TestGolden pins the bytes of keys and values, because disks hold such bytes. Do not
// adapt these to changed code: a change of bytes needs a new version number.
func TestGolden(t *testing.T) {
	l := &raft.Log{Index: 0x0102, Term: 3, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("ext")}
	value := make([]byte, recordSize(l))
	putRecord(value, l)
	marker := testMarker()
	m, err := marker.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"format key", formatKey, "00666f726d6174"},
		{"record key", recordKey(0x0a0b, 0x0102), "0100000a0b720000000000000102"},
		{"stable key", append(appendPrefix(nil, 1, kindStable), "CurrentTerm"...), "01000000017343757272656e745465726d"},
		{"vote key", appendPrefix(nil, 1, kindVote), "010000000176"},
		{"marker key", appendPrefix(nil, 1, kindMarker), "01000000016d"},
		{"floor key", appendPrefix(nil, 1, kindFloor), "010000000166"},
		{"record", value, "01000000000000000003000000046461746165787" + "4"},
		{"vote", vote{5, []byte("n1")}.encode(), "0100000000000000056e31"},
		{"marker", m, "010000000000000078000000000000000300000000000000760000000000000007" +
			"00000000000010000001000b696e2d30303030303030310002" +
			"0000026e3100026e31" + "0100026e320006686f73743a31"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// FuzzRecord checks that records survive encoding and decoding, and that any bytes that
// decode are the encoding of the result.
func FuzzRecord(f *testing.F) {
	f.Add(uint64(1), uint64(2), byte(0), []byte("data"), []byte("ext"))
	f.Add(uint64(0), uint64(0), byte(255), []byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, index, term uint64, kind byte, data, ext []byte) {
		in := &raft.Log{Index: index, Term: term, Type: raft.LogType(kind), Data: data, Extensions: ext}
		v := make([]byte, recordSize(in))
		putRecord(v, in)
		var out raft.Log
		if err := getRecord(v, index, &out); err != nil {
			t.Fatal(err)
		}
		if out.Index != index || out.Term != term || out.Type != in.Type ||
			!bytes.Equal(out.Data, data) || !bytes.Equal(out.Extensions, ext) {
			t.Fatalf("%+v came back as %+v", in, out)
		}
		// data as a record: it either fails to decode, or encodes to the same bytes again.
		if err := getRecord(bytes.Clone(data), index, &out); err == nil {
			again := make([]byte, recordSize(&out))
			putRecord(again, &out)
			if !bytes.Equal(again, data) {
				t.Fatalf("%x decodes, and encodes as %x", data, again)
			}
			printRecord(&out, printBytes)
		}
	})
}

// FuzzMarker checks that any bytes that decode are the encoding of the result.
func FuzzMarker(f *testing.F) {
	m := testMarker()
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{markerVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMarker(b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes as %x, %v", b, again, err)
		}
		back, err := decodeMarker(again)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%v came back as %v, %v", m, back, err)
		}
		_ = m.String()
	})
}

// TestBadValues decodes values that are cut short, too long or of another version.
func TestBadValues(t *testing.T) {
	good := make([]byte, recordSize(command(1, 1)))
	putRecord(good, command(1, 1))
	m := testMarker()
	marker, _ := m.encode()
	for n := range len(good) {
		err := getRecord(good[:n], 1, new(raft.Log))
		if err == nil {
			t.Errorf("a record cut at %d decodes", n)
		}
	}
	for n := range len(marker) {
		if _, err := decodeMarker(marker[:n]); err == nil {
			t.Errorf("a marker cut at %d decodes", n)
		}
	}
	if _, err := decodeMarker(append(marker, 0)); err == nil {
		t.Error("a marker with a byte too many decodes")
	}
	good[0], marker[0] = 9, 9
	if getRecord(good, 1, new(raft.Log)) == nil {
		t.Error("a record of version 9 decodes")
	}
	if _, err := decodeMarker(marker); err == nil {
		t.Error("a marker of version 9 decodes")
	}
	if _, err := decodeVote(append([]byte{9}, make([]byte, 8)...)); err == nil {
		t.Error("a vote of version 9 decodes")
	}
}
