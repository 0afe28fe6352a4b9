package stream

import (
	"encoding/binary"
	"fmt"
	"math"

	"millrace/kv"
)

// Check reads all keys of the slots first to last and returns the first disagreement
// among them, or nil. It verifies that every count is right, that every bound holds, that
// a pending entry has its key in each index and no index has other keys, and that deleted
// names and groups have left no keys.
//
// Check is for tests and for inspecting data directories. It keeps the records of one name
// and the names of one slot in memory.
func Check(r kv.Reader, first, last uint16) error {
	sys, err := loadSystem(r, first)
	if err != nil {
		return err
	}
	it, err := r.Iter(kv.SlotBounds(first, last))
	if err != nil {
		return err
	}
	c := shardCheck{first: first, cleanups: make(map[string]bool), deadlines: deadlineCheck{keys: make(map[string]int64), heads: make(map[string]int64), first: math.MaxInt64}}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = c.add(it.Key(), it.Value())
	}
	if err == nil {
		err = c.finish(sys)
	}
	return firstError(err, it.Error(), it.Close())
}

// shardCheck collects the keys of a shard.
type shardCheck struct {
	name      *nameCheck // the name of the latest key; nil before the first name
	names     uint64     // names so far
	index     indexCheck
	deadlines deadlineCheck
	first     uint16          // slot of the shard
	cleanups  map[string]bool // the cleanup keys
	unclean   [][]byte        // the cleanup keys that there must be
}

// add takes the next key of the shard.
func (c *shardCheck) add(key, value []byte) error {
	if len(key) < 5 {
		return fmt.Errorf("stream: key %x is too short", key)
	}
	n := int(binary.BigEndian.Uint16(key[2:]))
	if err := c.index.enter(binary.BigEndian.Uint16(key)); err != nil {
		return err
	}
	switch {
	case n == kv.SystemLen && key[4] == kv.SystemExpiry:
		return c.deadlines.add(key)
	case n == kv.SystemLen && key[4] == kv.SystemCleanup:
		c.cleanups[string(key)] = true
		return nil
	case n == kv.SystemLen:
		return nil
	case n == indexLen:
		return c.index.add(key, value)
	case len(key) < 5+n:
		return fmt.Errorf("stream: key %x is shorter than the name in it", key)
	}
	if prefix := key[:4+n]; c.name == nil || string(prefix) != c.name.prefix {
		if err := c.finishName(); err != nil {
			return err
		}
		c.name = newNameCheck(prefix)
		c.index.names[string(prefix[4:])] = true
		c.names++
	}
	if err := c.name.add(key[4+n], key[5+n:], value); err != nil {
		return fmt.Errorf("%s: %w", PrintKey(key), err)
	}
	return nil
}

// finishName verifies the name whose keys have all been added.
func (c *shardCheck) finishName() error {
	if c.name == nil {
		return nil
	}
	if h := c.name.head; h != nil && h.ExpireAtMS != 0 {
		c.deadlines.heads[string(h.Name)] = h.ExpireAtMS
	}
	for _, g := range c.name.groups {
		if g.group != nil && len(g.group.leftovers) > 0 {
			c.unclean = append(c.unclean, cleanupKey(c.first, []byte(c.name.prefix[4:]), g.group.name))
		}
	}
	return c.name.finish()
}

// finish verifies the last name and the counts of the shard.
func (c *shardCheck) finish(sys *system) error {
	if err := c.finishName(); err != nil {
		return err
	}
	if err := c.deadlines.finish(sys); err != nil {
		return err
	}
	if err := c.index.finish(); err != nil {
		return err
	}
	if uint64(len(c.cleanups)) != sys.cleanups {
		return fmt.Errorf("stream: the shard counts %d cleanups and has %d", sys.cleanups, len(c.cleanups))
	}
	for _, key := range c.unclean {
		if !c.cleanups[string(key)] {
			return fmt.Errorf("stream: %s is missing", PrintKey(key))
		}
	}
	if c.names != sys.keys {
		return fmt.Errorf("stream: the shard counts %d names and has %d", sys.keys, c.names)
	}
	return nil
}

// indexCheck holds the names of one slot that have not been found in the slot's index.
// All names of a slot come before its index.
type indexCheck struct {
	slot  uint16
	names map[string]bool
}

// enter tells the slot of the next key. At a new slot it verifies the slot before.
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
		return fmt.Errorf("stream: the index of slot %d has %q, which does not exist", c.slot, name)
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

// deadlineCheck collects deadlines by name, from the deadline keys and from the heads.
type deadlineCheck struct {
	keys, heads map[string]int64
	first       int64 // the earliest of keys
}

func (d *deadlineCheck) add(key []byte) error {
	if len(key) < deadlineHead {
		return fmt.Errorf("stream: the key %x is too short for a deadline", key)
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
		err.that(d.keys[name] == atMS, "%q has the deadline %d, but its key says %d", name, atMS, d.keys[name])
	}
	err.that(len(d.keys) == len(d.heads), "%d deadline keys have no name", len(d.keys)-len(d.heads))
	err.count("deadlines", sys.expires, uint64(len(d.keys)))
	err.that((sys.dueMS == 0) == (len(d.keys) == 0) && sys.dueMS <= d.first, "the first deadline is %d, but the shard says %d", d.first, sys.dueMS)
	return err.first
}
