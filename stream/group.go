package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// group is a consumer group. Its name is in the key.
//
//	+---------+-----------------------------------------------------------------------+
//	| version | gid uvarint | delivered 16 | entriesRead varint | pending uvarint      |
//	| u8 = 2  | consumers uvarint | nextCID uvarint | released uvarint                 |
//	|         | minPending 16 | maxPending 16 | minDue uvarint | minDueID 16            |
//	|         | loose uvarint | leftovers: number uvarint, and of each          |
//	|         | cid uvarint, count uvarint, from 16                                    |
//	+---------+-----------------------------------------------------------------------+
type group struct {
	name        []byte
	gid         uint64
	delivered   ID     // last-delivered-id
	entriesRead int64  // -1: not known
	pending     uint64 // number of pending entries
	consumers   uint64 // number of consumers
	nextCID     uint64 // number of the next new consumer
	released    uint64 // entries ever released by XNACK

	// minPending is a lower bound of the pending entries by ID, and minDue with minDueID is
	// one by order of claims. It needs the ID, because all entries that one XREADGROUP
	// delivers have the same due. Scans start there, because before the bounds lie only
	// tombstones of acknowledged entries. maxPending is an upper bound: no greater ID is
	// pending. loose counts the deletions since the lower bounds were last exact; see
	// maxLoose.
	minPending ID
	maxPending ID
	minDue     uint64
	minDueID   ID
	loose      uint64

	leftovers []leftover // of deleted consumers, by number; see leftovers.go

	members map[string]*consumer // the decoded consumers, by name; not always all
	byCID   map[uint64]*consumer // the same, by number
	changed []*consumer          // consumers that flush has to write
	dirty   bool                 // whether flush has to write the group itself
	gone    bool                 // destroyed: flush must not write it again
}

// consumer is a member of a group.
//
//	+---------+-------------------------------------------------------------------+
//	| version | cid uvarint | seenMS varint | activeMS varint | pending uvarint     |
//	| u8 = 1  | minOwned 16 | loose uvarint | name: length uvarint, bytes            |
//	+---------+-------------------------------------------------------------------+
type consumer struct {
	name     []byte
	cid      uint64
	seenMS   int64  // its last attempt to read or claim
	activeMS int64  // its last successful read or claim; -1: never
	pending  uint64 // number of pending entries that it owns
	minOwned ID     // lower bound of their IDs
	loose    uint64 // deletions from them since minOwned was last exact; see maxLoose
	dirty    bool   // whether flush has to write it
	gone     bool   // deleted: flush must not write it again
}

// pendingEntry is an entry that was delivered and is not yet acknowledged.
//
//	+---------+--------------------------------------------------------+
//	| version | cid uvarint | time uvarint | deliveries uvarint          |
//	| u8 = 1  |                                                         |
//	+---------+--------------------------------------------------------+
type pendingEntry struct {
	cid        uint64 // number of the owner; zero: XNACK released it, and it has none
	time       uint64 // last delivery, in ms; of a released entry: its number among the released
	deliveries uint64
}

const groupVersion, consumerVersion, pendingVersion = 2, 1, 1

func (g *group) encode() []byte {
	b := make([]byte, 0, 128)
	b = append(b, groupVersion)
	b = binary.AppendUvarint(b, g.gid)
	b = g.delivered.appendBytes(b)
	b = binary.AppendVarint(b, g.entriesRead)
	b = binary.AppendUvarint(b, g.pending)
	b = binary.AppendUvarint(b, g.consumers)
	b = binary.AppendUvarint(b, g.nextCID)
	b = binary.AppendUvarint(b, g.released)
	b = g.minPending.appendBytes(b)
	b = g.maxPending.appendBytes(b)
	b = g.minDueID.appendBytes(binary.AppendUvarint(b, g.minDue))
	b = binary.AppendUvarint(b, g.loose)
	b = binary.AppendUvarint(b, uint64(len(g.leftovers)))
	for _, l := range g.leftovers {
		b = binary.AppendUvarint(binary.AppendUvarint(b, l.cid), l.count)
		b = l.from.appendBytes(b)
	}
	return b
}

func decodeGroup(name, b []byte) (*group, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != groupVersion {
		return nil, fmt.Errorf("stream: group %q has version %d: not known here", name, v)
	}
	g := &group{name: append([]byte(nil), name...), gid: r.uvarint(), delivered: r.id(), entriesRead: r.varint()}
	g.pending, g.consumers, g.nextCID, g.released = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	g.minPending, g.maxPending, g.minDue, g.minDueID, g.loose = r.id(), r.id(), r.uvarint(), r.id(), r.uvarint()
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		g.leftovers = append(g.leftovers, leftover{cid: r.uvarint(), count: r.uvarint(), from: r.id()})
	}
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
	b = binary.AppendUvarint(b, c.loose)
	return appendBytes(b, c.name)
}

func decodeConsumer(b []byte) (*consumer, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != consumerVersion {
		return nil, fmt.Errorf("stream: consumer record has version %d: not known here", v)
	}
	c := &consumer{cid: r.uvarint(), seenMS: r.varint(), activeMS: r.varint(), pending: r.uvarint(), minOwned: r.id(), loose: r.uvarint()}
	c.name = append([]byte(nil), r.bytes()...)
	return c, r.err("consumer", c.name)
}

func (p pendingEntry) append(dst []byte) []byte {
	dst = append(dst, pendingVersion)
	dst = binary.AppendUvarint(dst, p.cid)
	dst = binary.AppendUvarint(dst, p.time)
	return binary.AppendUvarint(dst, p.deliveries)
}

func decodePending(b []byte) (pendingEntry, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != pendingVersion {
		return pendingEntry{}, fmt.Errorf("stream: pending entry has version %d: not known here", v)
	}
	p := pendingEntry{cid: r.uvarint(), time: r.uvarint(), deliveries: r.uvarint()}
	return p, r.err("pending entry", nil)
}

// flush writes the changed consumers of g, and g itself when it was changed, into b.
func (g *group) flush(b kv.Batch, prefix []byte) error {
	var key []byte
	for _, c := range g.changed {
		c.dirty = false
		if c.gone || g.gone {
			continue
		}
		key = appendConsumerKey(key[:0], prefix, g.gid, c.cid)
		if err := b.Set(key, c.encode()); err != nil {
			return err
		}
	}
	clear(g.changed)
	g.changed = g.changed[:0]
	if !g.dirty || g.gone {
		return nil
	}
	g.dirty = false
	return b.Set(appendGroupKey(key[:0], prefix, g.name), g.encode())
}
