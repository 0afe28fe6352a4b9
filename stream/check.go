package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"millrace/kv"
)

// Check reads all keys of the slots first to last and verifies that they agree: that
// every count is the number of what it counts, every bound holds, a pending entry has
// its key in every index and no index has another, and nothing is left of what was
// deleted. It returns the first disagreement. It is for tests and for looking at data
// directories: it keeps in memory what it has read of one name, and the names of one slot.
func Check(r kv.Reader, first, last uint16) error {
	sys, err := loadSystem(r, first)
	if err != nil {
		return err
	}
	it, err := r.Iter(kv.SlotBounds(first, last))
	if err != nil {
		return err
	}
	var c *nameCheck
	names := uint64(0)
	var index indexCheck
	deadlines := deadlineCheck{keys: make(map[string]int64), heads: make(map[string]int64), first: math.MaxInt64}
	finish := func() error {
		if c == nil {
			return nil
		}
		if c.head != nil && c.head.ExpireAtMS != 0 {
			deadlines.heads[string(c.head.Name)] = c.head.ExpireAtMS
		}
		return c.finish()
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		key := it.Key()
		n := int(binary.BigEndian.Uint16(key[2:]))
		if err = index.enter(binary.BigEndian.Uint16(key)); err != nil {
			break
		}
		if n == kv.SystemLen {
			if key[4] == kv.SystemExpiry {
				err = deadlines.add(key)
			}
			continue
		}
		if n == indexLen {
			err = index.add(key, it.Value())
			continue
		}
		if len(key) < 5+n {
			err = fmt.Errorf("stream: key %x is shorter than the name in it", key)
			break
		}
		if prefix := key[:4+n]; c == nil || string(prefix) != c.prefix {
			err = finish()
			c = newNameCheck(prefix)
			index.names[string(prefix[4:])] = true
			names++
		}
		if err == nil {
			if err = c.add(key[4+n], key[5+n:], it.Value()); err != nil {
				err = fmt.Errorf("%s: %w", PrintKey(key), err)
			}
		}
	}
	if err == nil {
		err = finish()
	}
	if err == nil {
		err = deadlines.finish(sys)
	}
	if err == nil {
		err = index.finish()
	}
	if err == nil && names != sys.keys {
		err = fmt.Errorf("stream: the shard counts %d names and has %d", sys.keys, names)
	}
	return firstError(err, it.Error(), it.Close())
}

// indexCheck is what Check has read of one slot: its names, which all come before the
// slot's index, and go from here when they are found in it.
type indexCheck struct {
	slot  uint16
	names map[string]bool
}

// enter says which slot the next key is of.
func (c *indexCheck) enter(slot uint16) error {
	if c.names != nil && slot == c.slot {
		return nil
	}
	err := c.finish()
	c.slot, c.names = slot, make(map[string]bool)
	return err
}

func (c *indexCheck) add(key, value []byte) error {
	_, name, ok := parseIndexKey(key)
	switch {
	case !ok || string(key) != string(indexKey(name)) || len(value) != 0:
		return fmt.Errorf("%s: not an index key", PrintKey(key))
	case !c.names[string(name)]:
		return fmt.Errorf("stream: the index of slot %d has %q, which is not there", c.slot, name)
	}
	delete(c.names, string(name))
	return nil
}

func (c *indexCheck) finish() error {
	for name := range c.names {
		return fmt.Errorf("stream: %q is not in the index of slot %d", name, c.slot)
	}
	return nil
}

// deadlineCheck is what Check has read of deadlines.
type deadlineCheck struct {
	keys, heads map[string]int64 // by name: as the index has them, and as the heads do
	first       int64
}

func (d *deadlineCheck) add(key []byte) error {
	if len(key) < deadlineHead {
		return fmt.Errorf("stream: the key %x is no deadline", key)
	}
	atMS, name := deadlineOfKey(key)
	if _, twice := d.keys[string(name)]; twice {
		return fmt.Errorf("stream: %q has two deadlines", name)
	}
	d.keys[string(name)] = atMS
	d.first = min(d.first, atMS)
	return nil
}

func (d *deadlineCheck) finish(sys *system) error {
	err := disagreement{}
	for name, atMS := range d.heads {
		err.that(d.keys[name] == atMS, "%q goes away at %d, and the index says %d", name, atMS, d.keys[name])
	}
	err.that(len(d.keys) == len(d.heads), "%d deadlines are of no name", len(d.keys)-len(d.heads))
	err.count("deadlines", sys.expires, uint64(len(d.keys)))
	err.that((sys.dueMS == 0) == (len(d.keys) == 0) && sys.dueMS <= d.first, "the first deadline is %d, and %d was expected", d.first, sys.dueMS)
	return err.first
}

// nameCheck is what Check has read of one name.
type nameCheck struct {
	prefix string
	head   *Head

	value  []byte                 // of a string; nil: none was met
	ids    []ID                   // of the entries
	chunks []chunk                // but the last
	iids   map[byte]uint64        // records of idempotent IDs, by kind
	byPID  uint64                 // idempotent IDs as the producers count them
	groups map[uint64]*groupCheck // by number
}

// groupCheck is what Check has read of one group. What is known before the group's own
// record was met is kept under its number.
type groupCheck struct {
	group   *group
	members map[uint64]*consumer   // by number
	names   map[string]uint64      // number by name
	pending map[ID]pendingEntry    // records
	owned   map[ID]uint64          // owner by the index of owners
	due     map[ID]uint64          // place by the order of claims
	owns    map[uint64]map[ID]bool // IDs by owner
}

func newNameCheck(prefix []byte) *nameCheck {
	return &nameCheck{prefix: string(prefix), iids: make(map[byte]uint64), groups: make(map[uint64]*groupCheck)}
}

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

// add takes one key of the name: its kind and what follows, and the value.
func (c *nameCheck) add(kind byte, rest, value []byte) (err error) {
	if c.head == nil && kind != kindHead {
		return fmt.Errorf("stream: a key without a head")
	}
	var gid uint64
	if fixed, ok := map[byte]int{
		kindName: 8, kindConsumer: 16, kindPending: 8 + idBytes, kindOwned: 16 + idBytes, kindDue: 16 + idBytes,
	}[kind]; ok {
		if len(rest) < fixed || len(rest) > fixed && kind != kindName {
			return fmt.Errorf("stream: %d bytes after the kind", len(rest))
		}
		gid = binary.BigEndian.Uint64(rest)
	}
	switch kind {
	case kindHead:
		c.head, err = decodeHead([]byte(c.prefix[4:]), value)
	case kindValue:
		c.value = append([]byte{}, value...)
	case kindEntry:
		err = c.addEntry(rest, value)
	case kindChunk:
		var n chunk
		n, err = decodeChunk(idOfKey(rest), value)
		c.chunks = append(c.chunks, n)
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
	case kindName:
		c.of(gid).names[string(rest[8:])] = binary.BigEndian.Uint64(value)
	case kindConsumer:
		var m *consumer
		if m, err = decodeConsumer(value); err == nil {
			c.of(gid).members[binary.BigEndian.Uint64(rest[8:])] = m
		}
	case kindPending:
		c.of(gid).pending[idOfKey(rest)], err = decodePending(value)
	case kindOwned:
		g, cid, id := c.of(gid), binary.BigEndian.Uint64(rest[8:]), idOfKey(rest)
		g.owned[id] = cid
		if g.owns[cid] == nil {
			g.owns[cid] = make(map[ID]bool)
		}
		g.owns[cid][id] = true
	case kindDue:
		g, id := c.of(gid), idOfKey(rest)
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

// finish verifies what add has taken.
func (c *nameCheck) finish() error {
	h := c.head
	if h == nil {
		return fmt.Errorf("stream: keys of %q without a head", c.prefix[4:])
	}
	if h.Type == TypeString {
		return c.finishString()
	}
	err := disagreement{}
	err.that(c.value == nil, "it has the value of a string")
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

// finishString is finish for a string, which has a value and no other key.
func (c *nameCheck) finishString() error {
	err := disagreement{}
	err.that(c.value != nil, "there is no value")
	err.count("bytes", c.head.Length, uint64(len(c.value)))
	err.that(len(c.ids)+len(c.chunks)+len(c.iids)+len(c.groups) == 0, "it has keys of a stream")
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
		err.that(h.Tail == chunk{}, "there is a last chunk and no chunk")
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
		err.that(i == 0 || c.chunks[i-1].Last.Less(n.First), "chunk %v begins in the one before", n.First)
		ids = ids[live:]
	}
	err.that(len(ids) == 0, "%d entries are in no chunk", len(ids))
}

func (g *groupCheck) finish() error {
	gr := g.group
	err := disagreement{}
	err.count("pending entries", gr.pending, uint64(len(g.pending)))
	err.count("places in the order of claims", gr.pending, uint64(len(g.due)))
	err.count("consumers", gr.consumers, uint64(len(g.members)))
	err.count("names of consumers", gr.consumers, uint64(len(g.names)))
	err.that(gr.loose < maxLoose, "bounds are %d deletions loose", gr.loose)
	for id, p := range g.pending {
		err.that(!id.Less(gr.minPending) && !gr.maxPending.Less(id), "%v is outside of %v…%v", id, gr.minPending, gr.maxPending)
		due, ok := g.due[id]
		err.that(ok && due == p.due(), "%v has place %#x in the order of claims, not %#x", id, due, p.due())
		err.that(due >= gr.minDue, "%v has place %#x, below %#x", id, due, gr.minDue)
		err.that(p.cid != 0 || p.time < gr.released, "%v was released as number %d of %d", id, p.time, gr.released)
		err.that(g.owned[id] == p.cid, "%v belongs to consumer %d, not %d", id, p.cid, g.owned[id])
	}
	owned := 0
	for cid, ids := range g.owns {
		owned += len(ids)
		err.that(g.members[cid] != nil, "consumer %d owns entries and does not exist", cid)
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
		err.that(m.loose < maxLoose, "bound of consumer %d is %d deletions loose", cid, m.loose)
		for id := range g.owns[cid] {
			err.that(!id.Less(m.minOwned), "%v of consumer %d is below %v", id, cid, m.minOwned)
		}
	}
	if err.first != nil {
		return fmt.Errorf("group %q: %w", gr.name, err.first)
	}
	return nil
}

// disagreement keeps the first of many checks that fails.
type disagreement struct{ first error }

func (d *disagreement) that(ok bool, format string, args ...any) {
	if !ok && d.first == nil {
		d.first = fmt.Errorf(format, args...)
	}
}

func (d *disagreement) count(what string, counted, found uint64) {
	d.that(counted == found, "%d %s are counted, and there are %d", counted, what, found)
}
