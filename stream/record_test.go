package stream

import (
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
)

// records holds one value of each kind of stored record, with its bytes. A change of the
// bytes needs a new version and a page in docs/decisions.
var records = []struct {
	name   string
	value  any
	encode func(v any) []byte
	decode func(b []byte) (any, error)
	hex    string
}{
	{"head", Head{
		Name: []byte("s"), Type: TypeStream, ExpireAtMS: 1 << 41, Modified: 77, Length: 3, Added: 200, Last: ID{1 << 40, 7}, MaxDeleted: ID{5, 0},
		First: ID{6, 1}, LastEntry: ID{1 << 40, 6}, GroupCount: 2, NextGID: 9, Pending: 4, Chunks: 2,
		Tail: chunk{First: ID{6, 2}, Last: ID{1 << 40, 6}, Total: 5, Live: 2, Bytes: 300, Fields: 0x0102030405060708},
		IDMP: idmpHead{100, 101, 2, 3, 4, 5, 6, 1}, prefix: appendName(nil, []byte("s")),
	}, func(v any) []byte { h := v.(Head); return h.append(nil) }, func(b []byte) (any, error) {
		h, err := decodeHead([]byte("s"), b)
		if err != nil {
			return nil, err
		}
		return *h, nil
	},
		"0101808080808080014d03c801000001000000000000000000000000070000000000000005000000000000000000000000000000060000000000000001" +
			"00000100000000000000000000000006020904020000000000000006000000000000000201000001000000000000000000000000060502ac02010203" +
			"04050607086465020304050601"},
	{"head of a string", Head{
		Name: []byte("s"), Type: TypeString, ExpireAtMS: 1 << 41, Modified: 77, Length: 300, prefix: appendName(nil, []byte("s")),
	}, func(v any) []byte { h := v.(Head); return h.append(nil) }, func(b []byte) (any, error) {
		h, err := decodeHead([]byte("s"), b)
		if err != nil {
			return nil, err
		}
		return *h, nil
	}, "0201808080808080014dac02"},
	{"head of a hash", Head{
		Name: []byte("s"), Type: TypeHash, ExpireAtMS: 1 << 41, Modified: 77, Length: 300, Added: 400, Elements: elementsHead{Large: true},
		prefix: appendName(nil, []byte("s")),
	}, func(v any) []byte { h := v.(Head); return h.append(nil) }, decodeTestHead, "0301808080808080014dac02900301"},
	{"head of a sorted set", Head{
		Name: []byte("s"), Type: TypeZSet, Modified: 77, Length: 2, Added: 3,
		Elements: elementsHead{Least: appendScored(nil, -1, []byte("a")), Greatest: appendScored(nil, 2.5, []byte("b")), Loose: 5},
		prefix:   appendName(nil, []byte("s")),
	}, func(v any) []byte { h := v.(Head); return h.append(nil) }, decodeTestHead, "0401004d0203000509400fffffffffffff6109c00400000000000062"},
	{"score", 2.5, func(v any) []byte { return appendScore(nil, v.(float64)) }, func(b []byte) (any, error) { return decodeScore(b) }, "01c004000000000000"},
	{"empty head", Head{Name: []byte("s"), Type: TypeStream, prefix: appendName(nil, []byte("s"))},
		func(v any) []byte { h := v.(Head); return h.append(nil) }, func(b []byte) (any, error) {
			h, err := decodeHead([]byte("s"), b)
			if err != nil {
				return nil, err
			}
			return *h, nil
		},
		"01010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" +
			"000000000000000000000000000000000000000000000000000000000001000000000000000000000000000000000000000000000000000000000000" +
			"0000000000"},
	{"chunk", chunk{First: ID{1, 2}, Last: ID{3, 4}, Total: 128, Live: 100, Bytes: 4000, Fields: math.MaxUint64},
		func(v any) []byte { c := v.(chunk); return c.append(nil) },
		func(b []byte) (any, error) { return decodeChunk(ID{1, 2}, b) }, "0100000000000000030000000000000004800164a01fffffffffffffffff"},
	{"entry", [][]byte{[]byte("f"), []byte("v"), {}, []byte(strings.Repeat("x", 130))},
		func(v any) []byte { return appendEntry(nil, v.([][]byte)) },
		func(b []byte) (any, error) { return entryWords(b) },
		"020166017600820178787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878" +
			"787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878" +
			"787878787878787878787878787878787878"},
	{"system", system{keys: 300, modified: 5, settings: settings{100, 4096, 100, 200}, expires: 3, dueMS: 1 << 41, cleanups: 2},
		func(v any) []byte { s := v.(system); return s.encode() },
		func(b []byte) (any, error) {
			s, err := decodeSystem(b)
			if err != nil {
				return nil, err
			}
			return *s, nil
		}, "02000000000000012c000000000000000564802064c8010380808080804002"},
	{"pending entry", pendingEntry{cid: 1, time: 1 << 40, deliveries: 3},
		func(v any) []byte { return v.(pendingEntry).append(nil) },
		func(b []byte) (any, error) { return decodePending(b) }, "010180808080802003"},
	{"group", group{name: []byte("g"), gid: 1, delivered: ID{2, 3}, entriesRead: -1, pending: 4, consumers: 5, nextCID: 6, released: 7,
		minPending: ID{8, 9}, maxPending: ID{10, 11}, minDue: 1 << 41, minDueID: ID{10, 3}, loose: 12,
		leftovers: []leftover{{cid: 2, count: 300, from: ID{8, 9}}}},
		func(v any) []byte { g := v.(group); return g.encode() },
		func(b []byte) (any, error) {
			g, err := decodeGroup([]byte("g"), b)
			if err != nil {
				return nil, err
			}
			return *g, nil
		},
		"020100000000000000020000000000000003010405060700000000000000080000000000000009000000000000000a000000000000000b8080808080" +
			"40000000000000000a00000000000000030c0102ac0200000000000000080000000000000009"},
	{"consumer", consumer{name: []byte("c"), cid: 1, seenMS: 1 << 40, activeMS: -1, pending: 2, minOwned: ID{3, 4}, loose: 5},
		func(v any) []byte { c := v.(consumer); return c.encode() },
		func(b []byte) (any, error) {
			c, err := decodeConsumer(b)
			if err != nil {
				return nil, err
			}
			return *c, nil
		}, "0101808080808040010200000000000000030000000000000004050163"},
	{"idempotent ID", iidRecord{id: ID{1, 2}, seq: 3, recordedMS: 1 << 40},
		func(v any) []byte { return v.(iidRecord).encode() },
		func(b []byte) (any, error) { return decodeIID(&Head{}, b) }, "0000000000000001000000000000000203808080808040"},
	{"producer", producer{count: 3, oldest: 200},
		func(v any) []byte { return v.(producer).encode() },
		func(b []byte) (any, error) { return decodeProducer(&Head{}, b) }, "03c801"},
}

func decodeTestHead(b []byte) (any, error) {
	h, err := decodeHead([]byte("s"), b)
	if err != nil {
		return nil, err
	}
	return *h, nil
}

func TestRecordBytes(t *testing.T) {
	for _, r := range records {
		b := r.encode(r.value)
		if got := hex.EncodeToString(b); got != r.hex {
			t.Errorf("%s is\n%s, not\n%s", r.name, got, r.hex)
		}
		v, err := r.decode(b)
		if err != nil || !reflect.DeepEqual(v, r.value) {
			t.Errorf("%s read back is %+v, %v", r.name, v, err)
		}
		for n := range b {
			if _, err := r.decode(b[:n]); err == nil {
				t.Errorf("%s cut to %d bytes is read without an error", r.name, n)
			}
		}
		if _, err := r.decode(append(b, 0)); err == nil {
			t.Errorf("%s with a byte too many is read without an error", r.name)
		}
		if _, versioned := r.value.([][]byte); versioned || r.name == "idempotent ID" || r.name == "producer" {
			continue
		}
		at := 0
		if strings.Contains(r.name, "head") {
			at = 1
		}
		newer := append([]byte(nil), b...)
		newer[at]++
		if _, err := r.decode(newer); err == nil {
			t.Errorf("%s of a newer version is read without an error", r.name)
		}
	}
}

// FuzzRecords reads arbitrary bytes as each kind of record. A value that can be read must be
// the same after it is written and read again. Printing must never panic.
func FuzzRecords(f *testing.F) {
	for _, r := range records {
		f.Add(r.encode(r.value), []byte{0, 1, 0, 1, 's', kindHead})
	}
	f.Fuzz(func(t *testing.T, b, key []byte) {
		for _, r := range records {
			v, err := r.decode(b)
			if err != nil {
				continue
			}
			again, err := r.decode(r.encode(v))
			if err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%s: %+v is %+v, %v after it was written", r.name, v, again, err)
			}
		}
		if PrintRecord(key, b) == "" {
			t.Error("nothing printed")
		}
		for _, kind := range []byte("avengicpqtdfwuhms") {
			PrintRecord(append([]byte{0, 1, 0, 1, 's', kind}, key...), b)
		}
	})
}
