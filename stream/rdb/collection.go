package rdb

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
)

// A hash, by its type. A string is as in reader.go.
//
//	4         length, pairs × { field, value }
//	13, 16    string: a ziplist or a listpack of fields and values in turn
//	24        least time i64, length, fields × { time length, field, value }
//	25        least time i64, string: a listpack of fields, values and times
//
// A time of zero says that the field has no time to live. A sorted set:
//
//	3         length, pairs × { member, score as text }, the greatest score first
//	5         length, pairs × { member, score f64 LE }, likewise
//	12, 17    string: a ziplist or a listpack of members and scores, the least score first
//
// The text of a score has a length of one byte, or is 253 for NaN, 254 for infinity, 255 for
// minus infinity, without more.

// ErrFieldTTL says that a field of a hash has a time to live, which Millrace does not keep.
var ErrFieldTTL = errors.New("rdb: a field of the hash has a time to live")

// Field is a field of a hash.
type Field struct{ Name, Value []byte }

// Member is a member of a sorted set.
type Member struct {
	Name  []byte
	Score float64
	// Text is the score as Redis prints it; it is written into a listpack only.
	Text []byte
}

// pairs notes pairs of strings as they are read.
type pairs struct {
	r    *reader
	seen map[string]bool
}

// add counts a pair of strings, and refuses a name that was there.
func (p *pairs) add(name, value []byte) {
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	if p.seen[string(name)] {
		p.r.fail("%q twice", name)
	}
	p.seen[string(name)] = true
	p.r.stop(p.r.budget.Element(name, len(value)))
}

// hash reads a hash of a type.
func (r *reader) hash(kind byte) (out []Field) {
	p := pairs{r: r}
	add := func(name, value []byte) {
		p.add(name, value)
		out = append(out, Field{name, value})
	}
	switch kind {
	case typeHashMeta, typeHashListpackEx:
		r.next(8)
	}
	switch kind {
	case typeHash, typeHashMeta:
		for n := r.length(); n > 0 && r.err == nil; n-- {
			if kind == typeHashMeta && r.length() != 0 {
				r.stop(ErrFieldTTL)
			}
			name := r.string()
			add(name, r.string())
		}
	case typeHashListpackEx:
		r.row(false, 3, func(e []element) {
			if e[2].str != nil || e[2].num != 0 {
				r.stop(ErrFieldTTL)
			}
			add(e[0].text(), e[1].text())
		})
	default:
		r.row(kind == typeHashZiplist, 2, func(e []element) { add(e[0].text(), e[1].text()) })
	}
	if len(out) == 0 {
		r.fail("an empty hash")
	}
	return out
}

// zset reads a sorted set of a type.
func (r *reader) zset(kind byte) (out []Member) {
	p := pairs{r: r}
	add := func(name []byte, score float64) {
		if math.IsNaN(score) {
			r.fail("the score of %q is no number", name)
		}
		p.add(name, nil)
		out = append(out, Member{Name: name, Score: score + 0})
	}
	switch kind {
	case typeZSet, typeZSet2:
		for n := r.length(); n > 0 && r.err == nil; n-- {
			name := r.string()
			if kind == typeZSet {
				add(name, r.textScore())
			} else if v := r.next(8); v != nil {
				add(name, math.Float64frombits(binary.LittleEndian.Uint64(v)))
			}
		}
	default:
		r.row(kind == typeZSetZiplist, 2, func(e []element) {
			score, err := float64(e[1].num), error(nil)
			if e[1].str != nil {
				score, err = strconv.ParseFloat(string(e[1].str), 64)
			}
			if err != nil {
				r.fail("score %q", e[1].str)
			}
			add(e[0].text(), score)
		})
	}
	if len(out) == 0 {
		r.fail("an empty sorted set")
	}
	return out
}

// textScore reads a score of type 3.
func (r *reader) textScore() float64 {
	switch n := r.u8(); n {
	case 253:
		return math.NaN()
	case 254:
		return math.Inf(1)
	case 255:
		return math.Inf(-1)
	default:
		text := r.next(uint64(n))
		score, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			r.fail("score %q", text)
		}
		return score
	}
}

// row reads a string that is a listpack or a ziplist, and calls f for each run of so many
// elements.
func (r *reader) row(ziplist bool, width int, f func(e []element)) {
	b := r.string()
	if r.err != nil {
		return
	}
	open := openListpack
	if ziplist {
		open = openZiplist
	}
	l, err := open(b)
	r.stop(err)
	e := make([]element, width)
	for len(l.b) > 0 && r.err == nil {
		for i := range e {
			if ziplist {
				e[i] = l.nextZip()
			} else {
				e[i] = l.next()
			}
		}
		if l.err == nil {
			f(e)
		}
		r.stop(l.err)
	}
	if r.err == nil {
		r.stop(l.countIs(b, ziplist))
	}
}

// A ziplist is the predecessor of the listpack.
//
//	 0       4      8       10
//	+-------+------+-------+---------+ … +------+
//	| bytes | tail | count | element | … | 0xFF |
//	| u32LE | u32LE| u16LE |         |   |      |
//	+-------+------+-------+---------+ … +------+
//
// An element is the size of the one before it (a byte, or 0xFE and u32 LE), and
//
//	00nnnnnn n bytes                     a string
//	01nnnnnn nnnnnnnn n bytes            a string
//	10000000 n u32 BE, n bytes           a string
//	11000000, 1101…, 1110… i16, i32, i64 LE
//	11110000, 11111110 i24 LE, i8
//	1111xxxx                             x-1, for x from 1 to 13
const ziplistHeader = 10

func openZiplist(b []byte) (listpack, error) {
	if len(b) < ziplistHeader+1 || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) || b[len(b)-1] != listpackEnd {
		return listpack{}, badFormat("ziplist of %d bytes", len(b))
	}
	return listpack{b: b[ziplistHeader : len(b)-1]}, nil
}

// countIs says whether as many elements were read as the row b counts.
func (l *listpack) countIs(b []byte, ziplist bool) error {
	if !ziplist {
		return l.close(b)
	}
	count := int(binary.LittleEndian.Uint16(b[8:]))
	if count != l.read && count != listpackMany {
		return badFormat("ziplist counts %d elements, %d were read", count, l.read)
	}
	return l.err
}

// nextZip reads one element of a ziplist.
func (l *listpack) nextZip() element {
	before := 1
	if len(l.b) > 0 && l.b[0] == 0xFE {
		before = 5
	}
	if len(l.b) <= before || l.b[0] == 0xFF {
		l.fail("ziplist ends early")
		return element{}
	}
	e, n, ok := decodeZipElement(l.b[before:])
	if !ok {
		l.fail("ziplist element %#x", l.b[before])
		return element{}
	}
	l.b = l.b[before+n:]
	l.read++
	return e
}

// zipIntWidths are the sizes of integers by their first byte.
var zipIntWidths = map[byte]int{0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}

// decodeZipElement reads the rest of an element, after the size of the one before it. n is
// the size of the rest.
func decodeZipElement(b []byte) (e element, n int, ok bool) {
	c := b[0]
	head, size := 1, 0
	switch c >> 6 {
	case 0:
		size = int(c & 0x3F)
	case 1:
		if len(b) < 2 {
			return e, 0, false
		}
		head, size = 2, int(c&0x3F)<<8|int(b[1])
	case 2:
		if len(b) < 5 {
			return e, 0, false
		}
		head, size = 5, int(binary.BigEndian.Uint32(b[1:]))
	default:
		if width := zipIntWidths[c]; width > 0 {
			if len(b) < 1+width {
				return e, 0, false
			}
			var raw [8]byte
			copy(raw[8-width:], b[1:1+width])
			return element{num: int64(binary.LittleEndian.Uint64(raw[:])) >> (64 - 8*width)}, 1 + width, true
		}
		if c < 0xF1 || c > 0xFD {
			return e, 0, false
		}
		return element{num: int64(c&0x0F) - 1}, 1, true
	}
	if size > len(b)-head {
		return e, 0, false
	}
	return element{str: b[head : head+size : head+size]}, head + size, true
}

// EncodeHash returns the payload of a hash, as a listpack if compact says so.
func EncodeHash(fields []Field, compact bool) []byte {
	if compact {
		l := beginListpack(nil)
		for _, f := range fields {
			l.string(f.Name)
			l.string(f.Value)
		}
		return seal(appendString([]byte{typeHashListpack}, l.finish()), versionStream2)
	}
	b := appendLength([]byte{typeHash}, uint64(len(fields)))
	for _, f := range fields {
		b = appendString(appendString(b, f.Name), f.Value)
	}
	return seal(b, versionStream2)
}

// EncodeZSet returns the payload of a sorted set whose members are in order, as a listpack if
// compact says so.
func EncodeZSet(members []Member, compact bool) []byte {
	if compact {
		l := beginListpack(nil)
		for _, m := range members {
			l.string(m.Name)
			l.string(m.Text)
		}
		return seal(appendString([]byte{typeZSetListpack}, l.finish()), versionStream2)
	}
	b := appendLength([]byte{typeZSet2}, uint64(len(members)))
	for _, member := range slices.Backward(members) {
		b = appendString(b, member.Name)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(member.Score))
	}
	return seal(b, versionStream2)
}
