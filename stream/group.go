package stream

import (
	"encoding/binary"
	"fmt"
)

// group is a consumer group as commands see it.
//
//	+---------+---------------------------------------------------------------------+
//	| version | gid uvarint | delivered 16 | entriesRead varint | pending uvarint    |
//	| u8 = 1  | consumers uvarint | nextCID uvarint | minPending 16 | minDueMS uvarint |
//	+---------+---------------------------------------------------------------------+
type group struct {
	name        []byte
	gid         uint64
	delivered   ID     // last-delivered-id
	entriesRead int64  // -1: not known
	pending     uint64 // entries in its PEL
	consumers   uint64
	nextCID     uint64
	// minPending and minDueMS are lower bounds of what the PEL holds, where scans
	// start: acknowledged entries before them are tombstones to crawl over.
	minPending ID
	minDueMS   uint64

	members map[string]*consumer // decoded consumers, by name; only those used
	dirty   bool
}

// consumer is a member of a group.
//
//	+---------+-------------------------------------------------------------------+
//	| version | cid uvarint | seenMS varint | activeMS varint | pending uvarint     |
//	| u8 = 1  | minOwned 16 | name: length uvarint, bytes                          |
//	+---------+-------------------------------------------------------------------+
type consumer struct {
	name     []byte
	cid      uint64
	seenMS   int64 // last attempt
	activeMS int64 // last delivery or claim; -1: never
	pending  uint64
	minOwned ID // lower bound of the IDs it owns
	dirty    bool
}

// pendingEntry is an entry delivered and not yet acknowledged.
//
//	+---------+--------------------------------------------------------+
//	| version | cid uvarint | deliveredMS uvarint | deliveries uvarint   |
//	| u8 = 1  |                                                         |
//	+---------+--------------------------------------------------------+
type pendingEntry struct {
	cid         uint64 // owner
	deliveredMS uint64 // last delivery
	deliveries  uint64
}

const groupVersion, consumerVersion, pendingVersion = 1, 1, 1

func (g *group) encode() []byte {
	b := make([]byte, 0, 96)
	b = append(b, groupVersion)
	b = binary.AppendUvarint(b, g.gid)
	b = g.delivered.appendBytes(b)
	b = binary.AppendVarint(b, g.entriesRead)
	b = binary.AppendUvarint(b, g.pending)
	b = binary.AppendUvarint(b, g.consumers)
	b = binary.AppendUvarint(b, g.nextCID)
	b = g.minPending.appendBytes(b)
	return binary.AppendUvarint(b, g.minDueMS)
}

func decodeGroup(name, b []byte) (*group, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != groupVersion {
		return nil, fmt.Errorf("stream: group %q has version %d: not known here", name, v)
	}
	g := &group{name: append([]byte(nil), name...), gid: r.uvarint(), delivered: r.id(), entriesRead: r.varint()}
	g.pending, g.consumers, g.nextCID = r.uvarint(), r.uvarint(), r.uvarint()
	g.minPending, g.minDueMS = r.id(), r.uvarint()
	return g, r.err("group", name)
}

func (c *consumer) encode() []byte {
	b := make([]byte, 0, 64+len(c.name))
	b = append(b, consumerVersion)
	b = binary.AppendUvarint(b, c.cid)
	b = binary.AppendVarint(b, c.seenMS)
	b = binary.AppendVarint(b, c.activeMS)
	b = binary.AppendUvarint(b, c.pending)
	b = c.minOwned.appendBytes(b)
	return appendBytes(b, c.name)
}

func decodeConsumer(b []byte) (*consumer, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != consumerVersion {
		return nil, fmt.Errorf("stream: consumer record has version %d: not known here", v)
	}
	c := &consumer{cid: r.uvarint(), seenMS: r.varint(), activeMS: r.varint(), pending: r.uvarint(), minOwned: r.id()}
	c.name = append([]byte(nil), r.bytes()...)
	return c, r.err("consumer", c.name)
}

func (p pendingEntry) encode() []byte {
	b := make([]byte, 0, 24)
	b = append(b, pendingVersion)
	b = binary.AppendUvarint(b, p.cid)
	b = binary.AppendUvarint(b, p.deliveredMS)
	return binary.AppendUvarint(b, p.deliveries)
}

func decodePending(b []byte) (pendingEntry, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != pendingVersion {
		return pendingEntry{}, fmt.Errorf("stream: pending entry has version %d: not known here", v)
	}
	p := pendingEntry{cid: r.uvarint(), deliveredMS: r.uvarint(), deliveries: r.uvarint()}
	return p, r.err("pending entry", nil)
}

// flush writes g and its consumers into b where they were changed.
func (g *group) flush(b Batch, name []byte) error {
	for _, c := range g.members {
		if !c.dirty {
			continue
		}
		if err := b.Set(consumerKey(name, g.gid, c.cid), c.encode()); err != nil {
			return err
		}
		c.dirty = false
	}
	if !g.dirty {
		return nil
	}
	g.dirty = false
	return b.Set(groupKey(name, g.name), g.encode())
}
