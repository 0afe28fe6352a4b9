package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// consumer returns the consumer of g with this name, or nil. A caller that changes it
// also calls tx.changedConsumer.
func (tx *Tx) consumer(h *Head, g *group, name []byte) (*consumer, error) {
	if c, ok := g.members[string(name)]; ok {
		return c, nil
	}
	if g.consumers == uint64(len(g.members)) {
		return nil, nil
	}
	tx.keyBuf = appendConsumerNameKey(tx.keyBuf[:0], h.prefix, g.gid, name)
	v, ok, err := tx.kv.Get(tx.keyBuf)
	if err != nil {
		return nil, fmt.Errorf("read name of consumer %q of %q: %w", name, h.Name, err)
	}
	if !ok {
		return nil, nil
	}
	if len(v) != 8 {
		return nil, fmt.Errorf("stream: number of consumer %q of %q has %d bytes", name, h.Name, len(v))
	}
	return tx.consumerByCID(h, g, binary.BigEndian.Uint64(v))
}

// consumerByCID returns the consumer of g with this number. It is an error when g has
// none.
func (tx *Tx) consumerByCID(h *Head, g *group, cid uint64) (*consumer, error) {
	if c, ok := g.byCID[cid]; ok {
		return c, nil
	}
	tx.keyBuf = appendConsumerKey(tx.keyBuf[:0], h.prefix, g.gid, cid)
	v, ok, err := tx.kv.Get(tx.keyBuf)
	if err != nil {
		return nil, fmt.Errorf("read consumer %d of group %q of %q: %w", cid, g.name, h.Name, err)
	}
	if !ok {
		return nil, fmt.Errorf("stream: group %q of %q names consumer %d, which does not exist", g.name, h.Name, cid)
	}
	c, err := decodeConsumer(v)
	if err != nil {
		return nil, err
	}
	tx.keepConsumer(h, g, c)
	return c, nil
}

// keepConsumer adds a decoded consumer to those of g.
func (tx *Tx) keepConsumer(h *Head, g *group, c *consumer) {
	if g.members == nil {
		g.members = make(map[string]*consumer, 1)
		g.byCID = make(map[uint64]*consumer, 1)
	}
	g.members[string(c.name)] = c
	g.byCID[c.cid] = c
	tx.countCached(h)
}

// changedConsumer marks c as changed, so that Flush writes it.
func (tx *Tx) changedConsumer(h *Head, g *group, c *consumer) {
	if !c.dirty {
		c.dirty = true
		g.changed = append(g.changed, c)
	}
	tx.changedGroup(h, g)
}

// createConsumer creates a consumer in g, which must not have one of that name.
func (tx *Tx) createConsumer(h *Head, g *group, name []byte) (*consumer, error) {
	c := &consumer{name: append([]byte(nil), name...), cid: g.nextCID, seenMS: tx.NowMS, activeMS: -1}
	c.noPending()
	tx.keyBuf = appendConsumerNameKey(tx.keyBuf[:0], h.prefix, g.gid, name)
	if err := tx.batch.Set(tx.keyBuf, binary.BigEndian.AppendUint64(nil, c.cid)); err != nil {
		return nil, fmt.Errorf("put name of consumer %q of %q: %w", name, h.Name, err)
	}
	g.nextCID++
	g.consumers++
	tx.keepConsumer(h, g, c)
	tx.changedConsumer(h, g, c)
	return c, nil
}

// attend returns the consumer of g with this name, which it creates if necessary, and
// records that the consumer tried to read at tx.NowMS.
func (tx *Tx) attend(h *Head, g *group, name []byte) (*consumer, error) {
	c, err := tx.consumer(h, g, name)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return tx.createConsumer(h, g, name)
	}
	c.seenMS = tx.NowMS
	tx.changedConsumer(h, g, c)
	return c, nil
}

// deleteConsumer deletes c and its pending entries. If there are many, they become leftovers.
func (tx *Tx) deleteConsumer(h *Head, g *group, c *consumer) error {
	var err error
	if c.pending > keepLeftovers {
		err = tx.leave(h, g, c)
	} else {
		err = tx.eachOwned(h, g, c, ID{}, MaxID, func(id ID, p pendingEntry) (bool, error) {
			return true, tx.dropPending(h, g, id, p)
		})
	}
	if err != nil {
		return err
	}
	tx.keyBuf = appendConsumerNameKey(tx.keyBuf[:0], h.prefix, g.gid, c.name)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete name of consumer %q of %q: %w", c.name, h.Name, err)
	}
	tx.keyBuf = appendConsumerKey(tx.keyBuf[:0], h.prefix, g.gid, c.cid)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete consumer %q of %q: %w", c.name, h.Name, err)
	}
	c.gone = true
	g.consumers--
	h.groupsCached--
	delete(g.members, string(c.name))
	delete(g.byCID, c.cid)
	tx.changedGroup(h, g)
	return nil
}

// listConsumers returns all consumers of g in the order of their names. The caller must
// not change them, because those that are decoded here are not kept in g.
func (tx *Tx) listConsumers(h *Head, g *group) ([]*consumer, error) {
	all := make([]*consumer, 0, len(g.members))
	for _, c := range g.members {
		all = append(all, c)
	}
	if g.consumers != uint64(len(g.members)) {
		lo := appendGIDKey(nil, h.prefix, kindConsumer, g.gid)
		err := tx.scanHot(lo, after(lo), func(_, value []byte) (bool, error) {
			c, err := decodeConsumer(value)
			if err != nil {
				return false, err
			}
			if g.byCID[c.cid] == nil {
				all = append(all, c)
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("list consumers of group %q of %q: %w", g.name, h.Name, err)
		}
	}
	if uint64(len(all)) != g.consumers {
		return nil, fmt.Errorf("stream: group %q of %q counts %d consumers and has %d", g.name, h.Name, g.consumers, len(all))
	}
	slices.SortFunc(all, func(a, b *consumer) int { return bytes.Compare(a.name, b.name) })
	return all, nil
}
