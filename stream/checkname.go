package stream

import (
	"encoding/binary"
	"fmt"
)

// nameCheck collects the keys of one name.
type nameCheck struct {
	prefix string
	head   *Head

	value  []byte                 // of a string; nil: there was no value
	ids    []ID                   // of the entries
	chunks []chunk                // all but the last, which is in the head
	iids   map[byte]uint64        // number of records about idempotent IDs, by kind
	byPID  uint64                 // sum of the producers' counts of idempotent IDs
	groups map[uint64]*groupCheck // by number

	elements elementCheck
}

// groupCheck collects the keys of one group. They may come before the record of the group.
type groupCheck struct {
	group   *group                 // nil before its record
	members map[uint64]*consumer   // by number
	names   map[string]uint64      // number by name
	pending map[ID]pendingEntry    // records
	owned   map[ID]uint64          // the owner of each ID, from the index of owners
	due     map[ID]uint64          // the place of each ID, from the order of claims
	owns    map[uint64]map[ID]bool // the IDs of each owner, from the index of owners
}

func newNameCheck(prefix []byte) *nameCheck {
	return &nameCheck{prefix: string(prefix), iids: make(map[byte]uint64), groups: make(map[uint64]*groupCheck)}
}

// of returns the groupCheck with this number, which it creates if necessary.
func (c *nameCheck) of(gid uint64) *groupCheck {
	g := c.groups[gid]
	if g == nil {
		g = &groupCheck{
			members: make(map[uint64]*consumer), names: make(map[string]uint64), pending: make(map[ID]pendingEntry),
			owned: make(map[ID]uint64), due: make(map[ID]uint64), owns: make(map[uint64]map[ID]bool),
		}
		c.groups[gid] = g
	}
	return g
}

// groupKeyBytes is the number of bytes after the kind in the keys of a group's parts. They
// begin with the number of the group. A kindName key goes on with a name.
var groupKeyBytes = map[byte]int{
	kindName: 8, kindConsumer: 16, kindPending: 8 + idBytes, kindOwned: 16 + idBytes, kindDue: 16 + idBytes,
}

// add takes one key of the name: its kind, the rest of the key, and the value.
func (c *nameCheck) add(kind byte, rest, value []byte) (err error) {
	if c.head == nil && kind != kindHead {
		return fmt.Errorf("stream: a key without a head")
	}
	if fixed, ok := groupKeyBytes[kind]; ok {
		if len(rest) < fixed || len(rest) > fixed && kind != kindName {
			return fmt.Errorf("stream: %d bytes after the kind", len(rest))
		}
		return c.of(binary.BigEndian.Uint64(rest)).add(kind, rest[8:], value)
	}
	switch kind {
	case kindHead:
		c.head, err = decodeHead([]byte(c.prefix[4:]), value)
	case kindValue:
		c.value = append([]byte{}, value...)
	case kindEntry:
		err = c.addEntry(rest, value)
	case kindChunk:
		if len(rest) != idBytes {
			return fmt.Errorf("stream: %d bytes after the kind", len(rest))
		}
		var n chunk
		n, err = decodeChunk(idOfKey(rest), value)
		c.chunks = append(c.chunks, n)
	case kindField, kindMember, kindScore:
		err = c.elements.add(c.head, kind, rest, value)
	case kindIID, kindIIDOrder, kindIIDAge, kindProducer:
		c.iids[kind]++
		if _, err = printIDMPRecord(c.head, kind, value); err == nil && kind == kindProducer {
			var p producer
			p, err = decodeProducer(c.head, value)
			c.byPID += p.count
		}
	case kindGroup:
		var g *group
		if g, err = decodeGroup(rest, value); err == nil {
			c.of(g.gid).group = g
		}
	}
	return err
}

// add takes one key of the group: its kind, the rest after the group's number, and the
// value.
func (g *groupCheck) add(kind byte, rest, value []byte) (err error) {
	switch kind {
	case kindName:
		if len(value) != 8 {
			return fmt.Errorf("stream: %d bytes as the number of a consumer", len(value))
		}
		g.names[string(rest)] = binary.BigEndian.Uint64(value)
	case kindConsumer:
		var m *consumer
		if m, err = decodeConsumer(value); err == nil {
			g.members[binary.BigEndian.Uint64(rest)] = m
		}
	case kindPending:
		g.pending[idOfKey(rest)], err = decodePending(value)
	case kindOwned:
		cid, id := binary.BigEndian.Uint64(rest), idOfKey(rest)
		g.owned[id] = cid
		if g.owns[cid] == nil {
			g.owns[cid] = make(map[ID]bool)
		}
		g.owns[cid][id] = true
	case kindDue:
		id := idOfKey(rest)
		if _, twice := g.due[id]; twice {
			return fmt.Errorf("stream: the entry has two places in the order of claims")
		}
		g.due[id] = dueOfKey(rest)
	}
	return err
}

func (c *nameCheck) addEntry(rest, value []byte) error {
	if len(rest) != idBytes {
		return fmt.Errorf("stream: %d bytes after the kind", len(rest))
	}
	c.ids = append(c.ids, idOfKey(rest))
	_, err := entryWords(value)
	return err
}

// finish verifies the name once all its keys are added.
func (c *nameCheck) finish() error {
	h := c.head
	if h == nil {
		return fmt.Errorf("stream: keys of %q without a head", c.prefix[4:])
	}
	if h.hasElements() {
		return c.finishElements()
	}
	if h.Type == TypeString {
		return c.finishString()
	}
	err := disagreement{}
	err.that(c.value == nil, "it has the value of a string")
	err.that(c.elements.empty(), "it has elements of a hash or a sorted set")
	err.count("entries", h.Length, uint64(len(c.ids)))
	var first, last ID
	if n := len(c.ids); n > 0 {
		first, last = c.ids[0], c.ids[n-1]
	}
	err.that(h.First == first, "first entry %v, not %v", h.First, first)
	err.that(h.LastEntry == last, "last entry %v, not %v", h.LastEntry, last)
	c.checkChunks(&err)
	err.count("idempotent IDs", h.IDMP.IIDs, c.iids[kindIID])
	err.count("idempotent IDs of producers", h.IDMP.IIDs, c.byPID)
	err.count("idempotent IDs in order", h.IDMP.IIDs, c.iids[kindIIDOrder])
	err.count("idempotent IDs by age", h.IDMP.IIDs, c.iids[kindIIDAge])
	err.count("producers", h.IDMP.PIDs, c.iids[kindProducer])
	err.that(!h.Last.Less(h.LastEntry), "greatest ID %v is below the last entry %v", h.Last, h.LastEntry)
	err.count("groups", h.GroupCount, uint64(len(c.groups)))
	pending := uint64(0)
	for gid, g := range c.groups {
		err.that(gid < h.NextGID, "group number %d is not below the next, %d", gid, h.NextGID)
		err.that(g.group != nil, "keys of group number %d without a group", gid)
		if err.first == nil {
			err.first = g.finish()
		}
		pending += uint64(len(g.pending))
	}
	err.count("pending entries of all groups", h.Pending, pending)
	if err.first != nil {
		return fmt.Errorf("stream %q: %w", h.Name, err.first)
	}
	return nil
}

// finishElements is finish for a hash or a sorted set.
func (c *nameCheck) finishElements() error {
	if c.value != nil || len(c.ids)+len(c.chunks)+len(c.iids)+len(c.groups) > 0 {
		return fmt.Errorf("%v %q has keys of a string or a stream", c.head.Type, c.head.Name)
	}
	return c.elements.finish(c.head)
}

// finishString is finish for a string, which has a head, a value and no other key.
func (c *nameCheck) finishString() error {
	err := disagreement{}
	err.that(c.value != nil, "there is no value")
	err.count("bytes", c.head.Length, uint64(len(c.value)))
	err.that(len(c.ids)+len(c.chunks)+len(c.iids)+len(c.groups) == 0 && c.elements.empty(), "it has keys of a stream or of elements")
	if err.first != nil {
		return fmt.Errorf("string %q: %w", c.head.Name, err.first)
	}
	return nil
}

// checkChunks verifies that each entry is in the one chunk that covers it.
func (c *nameCheck) checkChunks(err *disagreement) {
	h := c.head
	if h.Chunks > 0 {
		c.chunks = append(c.chunks, h.Tail)
	} else {
		err.that(h.Tail == chunk{}, "there is a last chunk, but the count of chunks is 0")
	}
	err.count("chunks", h.Chunks, uint64(len(c.chunks)))
	ids := c.ids
	for i, n := range c.chunks {
		live := 0
		for live < len(ids) && !n.Last.Less(ids[live]) {
			live++
		}
		err.that(live > 0 || h.deadTail(), "chunk %v has no entries", n.First)
		err.count("entries of a chunk", n.Live, uint64(live))
		err.that(live == 0 || !ids[0].Less(n.First), "entry before chunk %v", n.First)
		err.that(n.Live <= n.Total, "chunk %v has %d live entries of %d", n.First, n.Live, n.Total)
		err.that(i == 0 || c.chunks[i-1].Last.Less(n.First), "chunk %v overlaps the one before", n.First)
		ids = ids[live:]
	}
	err.that(len(ids) == 0, "%d entries are in no chunk", len(ids))
}

// finish verifies the group once all keys of the name are added.
func (g *groupCheck) finish() error {
	gr := g.group
	err := disagreement{}
	all := gr.pending + gr.leftoverCount()
	err.count("pending entries", all, uint64(len(g.pending)))
	err.count("places in the order of claims", all, uint64(len(g.due)))
	g.checkLeftovers(&err)
	err.count("consumers", gr.consumers, uint64(len(g.members)))
	err.count("names of consumers", gr.consumers, uint64(len(g.names)))
	err.that(gr.loose < maxLoose, "%d deletions since the bounds were exact", gr.loose)
	for id, p := range g.pending {
		err.that(!id.Less(gr.minPending) && !gr.maxPending.Less(id), "%v is outside %v…%v", id, gr.minPending, gr.maxPending)
		due, ok := g.due[id]
		err.that(ok && due == p.due(), "%v has place %#x in the order of claims, not %#x", id, due, p.due())
		err.that(!gr.claimedBefore(due, id), "%v has place %#x, below %#x of %v", id, due, gr.minDue, gr.minDueID)
		err.that(p.cid != 0 || p.time < gr.released, "%v was released as number %d of %d", id, p.time, gr.released)
		err.that(g.owned[id] == p.cid, "%v belongs to consumer %d, not %d", id, p.cid, g.owned[id])
	}
	owned := 0
	for cid, ids := range g.owns {
		owned += len(ids)
		_, left := gr.findLeftover(cid)
		err.that(left || g.members[cid] != nil, "consumer %d owns entries and does not exist", cid)
	}
	err.that(owned == len(g.owned), "%d entries have more than one owner", owned-len(g.owned))
	for id := range g.owned {
		_, ok := g.pending[id]
		err.that(ok, "%v has an owner and is not pending", id)
	}
	for cid, m := range g.members {
		err.that(m.cid == cid && g.names[string(m.name)] == cid, "consumer %d is %d, or its name's %d", cid, m.cid, g.names[string(m.name)])
		err.that(cid > 0 && cid < gr.nextCID, "consumer number %d is not below the next, %d", cid, gr.nextCID)
		err.count("entries of a consumer", m.pending, uint64(len(g.owns[cid])))
		err.that(m.loose < maxLoose, "%[2]d deletions since the bound of consumer %[1]d was exact", cid, m.loose)
		for id := range g.owns[cid] {
			err.that(!id.Less(m.minOwned), "%v of consumer %d is below %v", id, cid, m.minOwned)
		}
	}
	if err.first != nil {
		return fmt.Errorf("group %q: %w", gr.name, err.first)
	}
	return nil
}

// checkLeftovers verifies the entries that deleted consumers have left.
func (g *groupCheck) checkLeftovers(err *disagreement) {
	for _, l := range g.group.leftovers {
		err.that(g.members[l.cid] == nil, "consumer %d has leftovers and exists", l.cid)
		err.that(l.count > 0, "consumer %d has no leftovers", l.cid)
		err.count("leftovers of a consumer", l.count, uint64(len(g.owns[l.cid])))
		for id := range g.owns[l.cid] {
			err.that(!id.Less(l.from), "leftover %v of consumer %d is below %v", id, l.cid, l.from)
		}
	}
}

// disagreement keeps the error of the first failed check.
type disagreement struct{ first error }

func (d *disagreement) that(ok bool, format string, args ...any) {
	if !ok && d.first == nil {
		d.first = fmt.Errorf(format, args...)
	}
}

func (d *disagreement) count(what string, counted, found uint64) {
	d.that(counted == found, "the count of %[2]s is %[1]d, but there are %[3]d", counted, what, found)
}
