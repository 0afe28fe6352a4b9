package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// Type is the type of the value under a name.
type Type byte

// The types of a name. Their numbers are stored.
const (
	TypeStream Type = 1
	TypeString Type = 2
	TypeHash   Type = 3
	TypeZSet   Type = 4
)

// pointDeleteMax is the largest number of keys that are deleted one by one when a name or
// a group goes. More keys are deleted with a range tombstone.
const pointDeleteMax = 512

// Head is the record of a name: its type, its deadline, and the counts and bounds of the
// other records under the name. The decoded head in a State also holds decoded groups.
//
//	a stream:
//	+------+----------+----------------------------------------------------------+
//	| type | version  | expireAtMS varint | modified uvarint                     |
//	| u8   | u8 = 1   | length uvarint | added uvarint                           |
//	|      |          | last 16 | maxDeleted 16 | first 16 | lastEntry 16         |
//	|      |          | groups uvarint | nextGID uvarint | pending uvarint        |
//	|      |          | chunks uvarint | tail: first 16, a chunk record (chunk.go)  |
//	|      |          | idmp: 8 uvarints (idmp.go)                                 |
//	+------+----------+----------------------------------------------------------+
//
//	a string:
//	+------+----------+----------------------------------------------------------+
//	| type | version  | expireAtMS varint | modified uvarint | length uvarint    |
//	| u8   | u8 = 1   |                                                          |
//	+------+----------+----------------------------------------------------------+
//
//	a hash or a sorted set:
//	+------+----------+----------------------------------------------------------+
//	| type | version  | expireAtMS varint | modified uvarint | length uvarint    |
//	| u8   | u8 = 1   | added uvarint | elements (element.go)                    |
//	+------+----------+----------------------------------------------------------+
type Head struct {
	Name []byte
	Type Type
	// ExpireAtMS is the deadline of the name, in milliseconds since the Unix epoch; zero
	// means none. Only Tx.setDeadline and Tx.dropDeadline change it.
	ExpireAtMS int64
	// Modified is the number of the name's last modification; see Tx.modified.
	Modified uint64

	Length     uint64 // live entries or elements; of a string, its bytes
	Added      uint64 // entries ever added, unless XSETID set another number
	Last       ID     // greatest ID ever, unless XSETID set another one
	MaxDeleted ID     // greatest ID deleted by XDEL or a similar command
	First      ID     // first live entry; 0-0 when empty
	LastEntry  ID     // last live entry; 0-0 when empty

	GroupCount uint64
	NextGID    uint64 // number of the next new group
	Pending    uint64 // pending entries of all groups; decides how the name is deleted

	Chunks uint64 // number of chunks, the last one included; see chunk.go
	Tail   chunk  // the last chunk, which takes the next entry

	IDMP idmpHead // idempotent producers; see idmp.go

	Elements elementsHead // of a hash or a sorted set; see element.go

	prefix    []byte            // of all keys of the name
	groups    map[string]*group // the decoded groups; not always all
	allGroups []*group          // all groups in the order of their names; nil until needed
	changed   []*group          // groups that flush has to write
	// groupsCached is the number of decoded groups and of decoded consumers in them.
	groupsCached int

	front      chunk // cache of the first chunk, when it is not Tail; Live is zero until a trim reads it
	frontDirty bool  // front is newer than its record
	ahead      []ID  // cache of the IDs right after First; see Tx.entryAfter

	dirty     bool   // whether Flush has to write it
	gone      bool   // deleted: Flush must not write it again
	unsettled bool   // First and LastEntry are bounds only; see Tx.settle
	touched   uint64 // value of State.round when the name was last touched
}

const headVersion = 1

func newStreamHead(name []byte, set *settings) *Head {
	return &Head{
		Name: name, Type: TypeStream, NextGID: 1, prefix: appendName(nil, name),
		IDMP: idmpHead{Seconds: set.idmpSeconds, MaxSize: set.idmpMaxSize, NextSeq: 1, OldestSeq: 1},
	}
}

func newStringHead(name []byte) *Head {
	return &Head{Name: name, Type: TypeString, prefix: appendName(nil, name)}
}

func (h *Head) expired(nowMS int64) bool { return h.ExpireAtMS != 0 && h.ExpireAtMS <= nowMS }

// keyCount estimates the number of keys under the name of h.
func (h *Head) keyCount() uint64 {
	switch h.Type {
	case TypeString:
		return 2
	case TypeHash:
		return 1 + h.Length
	case TypeZSet:
		return 1 + 2*h.Length
	}
	return 1 + h.Length + 3*h.Pending + 2*h.IDMP.IIDs
}

// small reports whether the keys of h should be deleted one by one. That needs a scan, so
// h must have few keys, and must never have had so many that the scan would have to skip
// many tombstones.
func (h *Head) small() bool {
	return h.keyCount() <= pointDeleteMax && h.Added <= 32*pointDeleteMax
}

func (h *Head) append(b []byte) []byte {
	b = append(b, byte(h.Type), headVersion)
	b = binary.AppendVarint(b, h.ExpireAtMS)
	b = binary.AppendUvarint(b, h.Modified)
	b = binary.AppendUvarint(b, h.Length)
	if h.Type == TypeString {
		return b
	}
	b = binary.AppendUvarint(b, h.Added)
	if h.hasElements() {
		return h.Elements.append(b, h.Type)
	}
	for _, id := range [...]ID{h.Last, h.MaxDeleted, h.First, h.LastEntry} {
		b = id.appendBytes(b)
	}
	b = binary.AppendUvarint(b, h.GroupCount)
	b = binary.AppendUvarint(b, h.NextGID)
	b = binary.AppendUvarint(b, h.Pending)
	b = binary.AppendUvarint(b, h.Chunks)
	b = h.Tail.append(h.Tail.First.appendBytes(b))
	return h.IDMP.append(b)
}

func decodeHead(name, b []byte) (*Head, error) {
	r := recordReader{b: b}
	h := &Head{Name: append([]byte(nil), name...), Type: Type(r.u8()), prefix: appendName(nil, name)}
	if v := r.u8(); v != headVersion || h.Type < TypeStream || h.Type > TypeZSet {
		return nil, fmt.Errorf("stream: head of %q has type %d, version %d: not known here", name, h.Type, v)
	}
	h.ExpireAtMS, h.Modified = r.varint(), r.uvarint()
	h.Length = r.uvarint()
	if h.Type == TypeString {
		return h, r.err("head", name)
	}
	h.Added = r.uvarint()
	if h.hasElements() {
		h.Elements = readElements(&r, h.Type)
		return h, r.err("head", name)
	}
	for _, id := range [...]*ID{&h.Last, &h.MaxDeleted, &h.First, &h.LastEntry} {
		*id = r.id()
	}
	h.GroupCount, h.NextGID, h.Pending = r.uvarint(), r.uvarint(), r.uvarint()
	h.Chunks = r.uvarint()
	h.Tail = readChunk(r.id(), &r)
	h.IDMP = readIDMP(&r)
	return h, r.err("head", name)
}

// headLife reads only the type and the deadline of a head.
func headLife(name, b []byte) (t Type, expireAtMS int64, err error) {
	r := recordReader{b: b}
	t, version, expireAtMS := Type(r.u8()), r.u8(), r.varint()
	if r.bad || version != headVersion {
		return 0, 0, fmt.Errorf("stream: head of %q cannot be decoded", name)
	}
	return t, expireAtMS, nil
}

// flush writes h and its changed groups and consumers into b. It builds keys and values in
// buf, and returns buf, which may have grown, for the next call.
func (h *Head) flush(b kv.Batch, buf []byte) ([]byte, error) {
	if h.gone {
		return buf, nil
	}
	for _, g := range h.changed {
		if err := g.flush(b, h.prefix); err != nil {
			return buf, err
		}
	}
	clear(h.changed)
	h.changed = h.changed[:0]
	if h.frontDirty {
		h.frontDirty = false
		buf = h.front.First.appendBytes(append(append(buf[:0], h.prefix...), kindChunk))
		n := len(buf)
		buf = h.front.append(buf)
		if err := b.Set(buf[:n], buf[n:]); err != nil {
			return buf, err
		}
	}
	h.dirty = false
	buf = append(append(buf[:0], h.prefix...), kindHead)
	n := len(buf)
	buf = h.append(buf)
	return buf, b.Set(buf[:n], buf[n:])
}
