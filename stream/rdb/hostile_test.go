package rdb

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// parts holds the parts of a stream of the newest type, so that a test can change one.
type parts struct {
	kind                 byte
	chunks               [][2][]byte // key, listpack
	length               uint64
	last, first, deleted ID
	added                uint64
	groups               []groupParts
	seconds              uint64
	producers            []Producer
	tail                 []byte
}

type groupParts struct {
	name      string
	read      uint64
	pending   []ID
	time      int64
	consumers []consumerParts
	released  []ID
}

type consumerParts struct {
	name         string
	seen, active int64
	owns         []ID
}

// listpackOf makes a listpack of integers and strings.
func listpackOf(elems ...any) []byte {
	w := beginListpack(nil)
	for _, e := range elems {
		switch e := e.(type) {
		case int:
			w.integer(int64(e))
		case string:
			w.string([]byte(e))
		}
	}
	return w.finish()
}

// goodParts returns a valid stream of the entries 5-1 and 6-0.
func goodParts() *parts {
	return &parts{
		kind: typeStream5,
		chunks: [][2][]byte{{
			appendRawID(nil, ID{5, 1}),
			listpackOf(2, 1, 1, "f", 0, 2, 0, 0, "v", 4, 3, 0, 1, "w", 4, 0, 1, -1, 1, "g", "x", 6),
		}},
		length: 2, last: ID{9, 9}, first: ID{5, 1}, deleted: ID{5, 2}, added: 3,
		groups: []groupParts{{
			name: "g", pending: []ID{{5, 1}, {5, 2}, {6, 0}},
			consumers: []consumerParts{{"a", 1, 1, []ID{{5, 1}}}, {"b", 2, -1, []ID{{6, 0}}}},
			released:  []ID{{5, 2}},
		}},
		seconds:   100,
		producers: []Producer{{Name: []byte("p"), IIDs: []IID{{[]byte("i"), ID{5, 1}}}}},
	}
}

func (p *parts) value() []byte {
	b := appendLength([]byte{p.kind}, uint64(len(p.chunks)))
	for _, n := range p.chunks {
		b = appendString(appendString(b, n[0]), n[1])
	}
	b = appendID(appendLength(b, p.length), p.last)
	if p.kind >= typeStream2 {
		b = appendLength(appendID(appendID(b, p.first), p.deleted), p.added)
	}
	b = appendLength(b, uint64(len(p.groups)))
	for _, g := range p.groups {
		b = appendID(appendString(b, []byte(g.name)), ID{})
		if p.kind >= typeStream2 {
			b = appendLength(b, g.read)
		}
		b = appendLength(b, uint64(len(g.pending)))
		for _, id := range g.pending {
			b = appendLength(appendTime(appendRawID(b, id), g.time), 1)
		}
		b = appendLength(b, uint64(len(g.consumers)))
		for _, c := range g.consumers {
			b = appendTime(appendString(b, []byte(c.name)), c.seen)
			if p.kind >= typeStream3 {
				b = appendTime(b, c.active)
			}
			b = appendLength(b, uint64(len(c.owns)))
			for _, id := range c.owns {
				b = appendRawID(b, id)
			}
		}
		if p.kind >= typeStream5 {
			b = appendLength(b, uint64(len(g.released)))
			for _, id := range g.released {
				b = appendRawID(b, id)
			}
		}
	}
	if p.kind >= typeStream4 {
		b = appendIDMP(b, &IDMP{Seconds: p.seconds, MaxSize: 100, Producers: p.producers})
	}
	return append(b, p.tail...)
}

// hostileStreams changes a good stream in one place so that it must be refused.
var hostileStreams = []struct {
	name string
	bend func(p *parts)
}{
	{"unknown type", func(p *parts) { p.kind = typeStream5 + 1 }},
	{"another length", func(p *parts) { p.length = 3 }},
	{"no entries, but a length", func(p *parts) { p.chunks = nil }},
	{"an entry above the last ID", func(p *parts) { p.last = ID{5, 9} }},
	{"deleted above the last ID", func(p *parts) { p.deleted = ID{9, 10} }},
	{"fewer added than there are", func(p *parts) { p.added = 1 }},
	{"more added than a number holds", func(p *parts) { p.added = 1 << 63 }},
	{"a short chunk key", func(p *parts) { p.chunks[0][0] = p.chunks[0][0][1:] }},
	{"chunk 0-0", func(p *parts) { p.chunks[0][0] = make([]byte, 16) }},
	{"a chunk twice", func(p *parts) { p.chunks = append(p.chunks, p.chunks[0]); p.length = 4 }},
	{"chunks that overlap", func(p *parts) {
		p.chunks = append(p.chunks, [2][]byte{appendRawID(nil, ID{6, 0}), p.chunks[0][1]})
		p.length = 4
	}},
	{"chunks out of order", func(p *parts) {
		p.chunks = append(p.chunks, [2][]byte{appendRawID(nil, ID{4, 0}), p.chunks[0][1]})
		p.length = 4
	}},
	{"an empty listpack", func(p *parts) { p.chunks[0][1] = listpackOf() }},
	{"no listpack", func(p *parts) { p.chunks[0][1] = []byte("listpack") }},
	{"a chunk without entries", func(p *parts) { p.chunks[0][1] = listpackOf(0, 0, 1, "f", 0); p.length = 0 }},
	{"a chunk counts more", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4) }},
	{"a chunk counts no deleted", func(p *parts) {
		p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4, 3, 0, 1, "w", 4, 2, 1, 0, "v", 4)
	}},
	{"negative counts", func(p *parts) { p.chunks[0][1] = listpackOf(2, -1, 1, "f", 0, 2, 0, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"a count that is a string", func(p *parts) { p.chunks[0][1] = listpackOf("x", 0, 1, "f", 0, 2, 0, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"more fields than bytes", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1<<40, "f", 0, 2, 0, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"fields without an end", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 1, 2, 0, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"no fields", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 0, 0, 2, 0, 0, 3, 2, 1, 0, 3) }},
	{"an entry without fields", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4, 0, 1, 0, 0, 4) }},
	{"an entry with many fields", func(p *parts) {
		p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4, 0, 1, 0, 1<<62, "g", "x", 6)
	}},
	{"an entry with negative fields", func(p *parts) {
		p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4, 0, 1, 0, -1, "g", "x", 6)
	}},
	{"unknown flags", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 6, 0, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"a wrong number of elements", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 5, 2, 1, 0, "v", 4) }},
	{"an entry twice", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 0, 0, "v", 4, 2, 0, 0, "v", 4) }},
	{"entries out of order", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, 1, 0, "v", 4, 2, 0, 0, "v", 4) }},
	{"an entry below its chunk", func(p *parts) { p.chunks[0][1] = listpackOf(2, 0, 1, "f", 0, 2, -1, 0, "v", 4, 2, 1, 0, "v", 4) }},
	{"a deleted entry below its chunk", func(p *parts) {
		p.chunks[0][1] = listpackOf(2, 1, 1, "f", 0, 2, 0, 0, "v", 4, 3, -1, 0, "v", 4, 2, 1, 0, "v", 4)
	}},
	{"a chunk below a deleted entry", func(p *parts) {
		p.chunks = append(p.chunks, [2][]byte{appendRawID(nil, ID{7, 0}), p.chunks[0][1]})
		p.chunks[0][1] = listpackOf(1, 1, 1, "f", 0, 2, 0, 0, "v", 4, 3, 2, 0, "v", 4)
		p.length = 3
	}},
	{"an entry cut off", func(p *parts) { p.chunks[0][1] = listpackOf(2, 1, 1, "f", 0, 2, 0, 0, "v", 4, 2, 1, 0, "v") }},
	{"a group twice", func(p *parts) { p.groups = append(p.groups, p.groups[0]) }},
	{"a group that has read -2", func(p *parts) { p.groups[0].read = 1<<64 - 2 }},
	{"pending twice", func(p *parts) { p.groups[0].pending[1] = ID{5, 1} }},
	{"pending out of order", func(p *parts) { p.groups[0].pending[0] = ID{7, 0} }},
	{"pending 0-0", func(p *parts) { p.groups[0].pending[0] = ID{} }},
	{"pending since before the epoch", func(p *parts) { p.groups[0].time = -1 }},
	{"a consumer twice", func(p *parts) { p.groups[0].consumers[1].name = "a" }},
	{"a consumer seen before the epoch", func(p *parts) { p.groups[0].consumers[0].seen = -1 }},
	{"a consumer active before the epoch", func(p *parts) { p.groups[0].consumers[0].active = -2 }},
	{"two owners", func(p *parts) { p.groups[0].consumers[1].owns = []ID{{5, 1}, {6, 0}} }},
	{"one owner twice", func(p *parts) { p.groups[0].consumers[1].owns = []ID{{6, 0}, {6, 0}} }},
	{"owned out of order", func(p *parts) {
		p.groups[0].consumers[0].owns = []ID{{6, 0}, {5, 1}}
		p.groups[0].consumers[1].owns = nil
	}},
	{"owned and not pending", func(p *parts) { p.groups[0].consumers[1].owns = []ID{{6, 0}, {7, 0}} }},
	{"no owner", func(p *parts) { p.groups[0].consumers[1].owns = nil }},
	{"no consumers", func(p *parts) { p.groups[0].consumers = nil }},
	{"neither owned nor released", func(p *parts) { p.groups[0].released = nil }},
	{"owned and released", func(p *parts) { p.groups[0].released = append(p.groups[0].released, ID{6, 0}) }},
	{"released twice", func(p *parts) { p.groups[0].released = append(p.groups[0].released, ID{5, 2}) }},
	{"released and not pending", func(p *parts) { p.groups[0].released[0] = ID{5, 3} }},
	{"released, before Redis 8.8", func(p *parts) { p.kind = typeStream4 }},
	{"a producer twice", func(p *parts) { p.producers = append(p.producers, p.producers[0]) }},
	{"an idempotent ID twice", func(p *parts) { p.producers[0].IIDs = append(p.producers[0].IIDs, p.producers[0].IIDs[0]) }},
	{"bytes left over", func(p *parts) { p.tail = []byte{0} }},
	{"another trailer", func(p *parts) { p.older(); p.tail = []byte("MRX") }},
	{"a short trailer", func(p *parts) { p.older(); p.tail = append([]byte(trailer), make([]byte, 15)...) }},
	{"a long trailer", func(p *parts) { p.older(); p.tail = append([]byte(trailer), make([]byte, 17)...) }},
	{"a trailer with a wrong time", func(p *parts) { p.older(); p.tail = append([]byte(trailer), bytes.Repeat([]byte{0xF0}, 16)...) }},
	{"a trailer where times are known", func(p *parts) {
		p.older()
		p.kind, p.tail = typeStream3, append([]byte(trailer), make([]byte, 16)...)
	}},
}

// TestHostile decodes the streams of hostileStreams.
func TestHostile(t *testing.T) {
	if _, err := Decode(seal(goodParts().value(), maxVersion), plenty); err != nil {
		t.Fatal(err)
	}
	for _, c := range hostileStreams {
		p := goodParts()
		c.bend(p)
		if v, err := Decode(seal(p.value(), maxVersion), plenty); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", c.name, v.Stream, err)
		}
	}
}

// older makes p a stream of Redis 7.0, which has no released entries.
func (p *parts) older() {
	p.kind = typeStream2
	p.groups[0].pending = slices.Delete(p.groups[0].pending, 1, 2)
}

// TestTrailer reads active times after a stream of Redis 7.0.
func TestTrailer(t *testing.T) {
	p := goodParts()
	p.older()
	p.tail = appendTime(appendTime([]byte(trailer), 7), -1)
	v, err := Decode(seal(p.value(), versionStream2), plenty)
	if err != nil {
		t.Fatal(err)
	}
	if c := v.Stream.Groups[0].Consumers; c[0].ActiveMS != 7 || c[1].ActiveMS != -1 {
		t.Errorf("active at %d and %d", c[0].ActiveMS, c[1].ActiveMS)
	}
}

// TestDeletedAhead reads a stream with a deleted entry before one with a lower ID.
func TestDeletedAhead(t *testing.T) {
	for _, c := range []struct{ last, want ID }{{ID{9, 9}, ID{8, 1}}, {ID{6, 1}, ID{6, 1}}} {
		p := goodParts()
		p.chunks[0][1] = listpackOf(2, 1, 1, "f", 0, 2, 0, 0, "v", 4, 3, 3, 0, "v", 4, 2, 1, 0, "v", 4)
		p.last = c.last
		v, err := Decode(seal(p.value(), maxVersion), plenty)
		if err != nil {
			t.Fatal(err)
		}
		if n := v.Stream.Chunks[0]; n.Last != c.want || n.Deleted != 1 || len(n.Entries) != 2 {
			t.Errorf("up to %v: %+v", c.last, n)
		}
	}
}

// TestCutOff decodes every proper prefix of a stream.
func TestCutOff(t *testing.T) {
	value := goodParts().value()
	for n := range value {
		if _, err := Decode(seal(slices.Clone(value[:n]), maxVersion), plenty); !errors.Is(err, ErrFormat) {
			t.Errorf("the first %d bytes of %d: %v", n, len(value), err)
		}
	}
}

// TestBudget decodes small payloads of large values, with just enough budget and with less.
func TestBudget(t *testing.T) {
	shared := func(entries int) []byte { // entries that share a field's long name
		w := beginListpack(nil)
		w.integer(int64(entries))
		w.integer(0)
		w.integer(1)
		w.string(bytes.Repeat([]byte("f"), 1000))
		w.integer(0)
		for i := range entries {
			for _, v := range []int{flagSameFields, i, 0, 1, 4} {
				w.integer(int64(v))
			}
		}
		p := &parts{kind: typeStream2, length: uint64(entries), last: ID{1 << 40, 0}, added: uint64(entries)}
		p.chunks = [][2][]byte{{appendRawID(nil, ID{1, 0}), w.finish()}}
		return seal(p.value(), versionStream2)
	}
	packed := []byte{typeString, encodedLZF}
	run := append([]byte{0, 'a'}, bytes.Repeat([]byte{0xE0, 255, 0}, 1000)...)
	packed = append(appendLength(appendLength(packed, uint64(len(run))), 1+264*1000), run...)
	for _, c := range []struct {
		name    string
		payload []byte
		budget  Budget
		err     error
	}{
		{"compressed", seal(slices.Clone(packed), versionStream2), Budget{Left: 264_000}, ErrTooLarge},
		{"compressed, and paid for", seal(slices.Clone(packed), versionStream2), Budget{Left: 264_001}, nil},
		{"names of fields", shared(1000), Budget{Left: 1 << 20}, ErrTooLarge},
		{"names of fields, and paid for", shared(1000), Budget{Left: 2 << 20}, nil},
		{"long keys", shared(10), Budget{Left: 1 << 20, Record: 100_000}, ErrTooLarge},
		{"long keys, and paid for", shared(10), Budget{Left: 2 << 20, Record: 100_000}, nil},
	} {
		if _, err := Decode(c.payload, c.budget); !errors.Is(err, c.err) {
			t.Errorf("%s, %d bytes: %v", c.name, len(c.payload), err)
		}
	}
}
