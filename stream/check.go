package stream

import (
	"encoding/binary"
	"fmt"
)

// Check reads all keys of the slots first to last and verifies that they agree: that
// every count is the number of what it counts, every bound holds, a pending entry has
// its key in every index and no index has another, and nothing is left of what was
// deleted. It returns the first disagreement. It is for tests and for looking at data
// directories: it keeps in memory what it has read of one name.
func Check(r Reader, first, last uint16) error {
	sys, err := loadSystem(r, first)
	if err != nil {
		return err
	}
	it, err := r.Iter(SlotBounds(first, last))
	if err != nil {
		return err
	}
	var c *nameCheck
	names := uint64(0)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		key := it.Key()
		n := int(binary.BigEndian.Uint16(key[2:]))
		if n == systemLen {
			continue
		}
		if len(key) < 5+n {
			err = fmt.Errorf("stream: key %x is shorter than the name in it", key)
			break
		}
		if prefix := key[:4+n]; c == nil || string(prefix) != c.prefix {
			if c != nil {
				err = c.finish()
			}
			c = newNameCheck(prefix)
			names++
		}
		if err == nil {
			if err = c.add(key[4+n], key[5+n:], it.Value()); err != nil {
				err = fmt.Errorf("%s: %w", PrintKey(key), err)
			}
		}
	}
	if err == nil && c != nil {
		err = c.finish()
	}
	if err == nil && names != sys.keys {
		err = fmt.Errorf("stream: the shard counts %d names and has %d", sys.keys, names)
	}
	return firstError(err, it.Error(), it.Close())
}

// nameCheck is what Check has read of one name.
type nameCheck struct {
	prefix string
	head   *Head

	entries, nodes, live  uint64
	firstEntry, lastEntry ID
	groups                map[uint64]*groupCheck // by number
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
	return &nameCheck{prefix: string(prefix), groups: make(map[uint64]*groupCheck)}
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
	case kindEntry:
		err = c.addEntry(rest, value)
	case kindNode:
		var n node
		n, err = decodeNode(idOfKey(rest), value)
		c.nodes++
		c.live += n.Live
		if n.Live == 0 {
			err = fmt.Errorf("stream: node without entries")
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
	if c.entries == 0 {
		c.firstEntry = idOfKey(rest)
	}
	c.lastEntry = idOfKey(rest)
	c.entries++
	_, err := entryWords(value)
	return err
}

// finish verifies what add has taken.
func (c *nameCheck) finish() error {
	h := c.head
	if h == nil {
		return fmt.Errorf("stream: keys of %q without a head", c.prefix[4:])
	}
	if h.Nodes > 0 {
		c.nodes, c.live = c.nodes+1, c.live+h.Tail.Live
	}
	err := disagreement{}
	err.count("entries", h.Length, c.entries)
	err.count("entries of nodes", h.Length, c.live)
	err.count("nodes", h.Nodes, c.nodes)
	err.that(h.First == c.firstEntry, "first entry %v, not %v", h.First, c.firstEntry)
	err.that(h.LastEntry == c.lastEntry, "last entry %v, not %v", h.LastEntry, c.lastEntry)
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
