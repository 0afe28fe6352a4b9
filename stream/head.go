package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// Type is what a name holds.
type Type byte

// The types of a name. Their numbers are stored.
const (
	TypeStream Type = 1
	TypeString Type = 2
)

// pointDeleteMax is up to how many keys a stream is deleted key by key.
const pointDeleteMax = 512

// Head is what a name holds apart from its value, or its entries, groups and pending
// entries. A decoded head of a State also carries the groups that commands have used.
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
type Head struct {
	Name []byte
	Type Type
	// ExpireAtMS is when the name goes away; zero is never. See Tx.setDeadline.
	ExpireAtMS int64
	// Modified is the shard's count of modifications as it was at the last one of this
	// name; see Tx.modified.
	Modified uint64

	Length     uint64 // live entries; of a string, its bytes
	Added      uint64 // entries ever added, or as XSETID says
	Last       ID     // greatest ID ever, or as XSETID says
	MaxDeleted ID     // greatest ID that XDEL and its like have deleted
	First      ID     // first live entry; 0-0 when empty
	LastEntry  ID     // last live entry; 0-0 when empty

	GroupCount uint64
	NextGID    uint64
	Pending    uint64 // pending entries over all groups; decides how a delete is done

	Chunks uint64 // chunks with live entries, or one without; see chunk.go
	Tail   chunk  // the last of them, which takes the next entry; see chunk.go

	IDMP idmpHead // idempotent producers; see idmp.go

	prefix    []byte            // of all keys of the name
	groups    map[string]*group // decoded groups; only those used
	allGroups []*group          // all of them in order of their names; nil until needed
	changed   []*group          // those to be written
	// groupsCached counts the groups in groups and their members.
	groupsCached int

	front      chunk // the first chunk, where it is not the last and a trim has looked at it
	frontDirty bool  // front is newer than its record
	ahead      []ID  // IDs of the entries right after First, as a trim has read them

	dirty     bool
	gone      bool   // deleted; what still holds it writes nothing
	unsettled bool   // First and LastEntry are bounds only; see Tx.settle
	touched   uint64 // the State's round in which the name was touched last
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

// keyCount returns about how many keys h has.
func (h *Head) keyCount() uint64 {
	if h.Type == TypeString {
		return 2
	}
	return 1 + h.Length + 3*h.Pending + 2*h.IDMP.IIDs
}

// small reports whether h has so few keys that they are deleted one by one, and has
// had so few that those deleted already are no matter to crawl over.
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
	if v := r.u8(); v != headVersion || h.Type != TypeStream && h.Type != TypeString {
		return nil, fmt.Errorf("stream: head of %q has type %d, version %d: not known here", name, h.Type, v)
	}
	h.ExpireAtMS, h.Modified = r.varint(), r.uvarint()
	h.Length = r.uvarint()
	if h.Type == TypeString {
		return h, r.err("head", name)
	}
	h.Added = r.uvarint()
	for _, id := range [...]*ID{&h.Last, &h.MaxDeleted, &h.First, &h.LastEntry} {
		*id = r.id()
	}
	h.GroupCount, h.NextGID, h.Pending = r.uvarint(), r.uvarint(), r.uvarint()
	h.Chunks = r.uvarint()
	h.Tail = readChunk(r.id(), &r)
	h.IDMP = readIDMP(&r)
	return h, r.err("head", name)
}

// headLife reads from a head only what it holds and when it goes away.
func headLife(name, b []byte) (t Type, expireAtMS int64, err error) {
	r := recordReader{b: b}
	t, version, expireAtMS := Type(r.u8()), r.u8(), r.varint()
	if r.bad || version != headVersion {
		return 0, 0, fmt.Errorf("stream: head of %q cannot be decoded", name)
	}
	return t, expireAtMS, nil
}

// flush writes h and its changed groups and consumers into b. It builds keys and
// values in buf, and returns it for the next one.
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
