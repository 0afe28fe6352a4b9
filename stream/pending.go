package stream

import (
	"fmt"
	"math"
)

// A pending entry has three keys: one by ID, which holds the record, one under its owner,
// and one in the order of claims. A released entry has no owner and no key of the second
// sort. Only this file writes these keys, so that they always agree.

const (
	// claimOwned is the highest bit of an owned entry's place in the order of claims. It
	// puts all released entries first.
	claimOwned = 1 << 63

	// maxDeliveries is the delivery count that XNACK FATAL sets. It never rises further.
	maxDeliveries = math.MaxInt64
)

// due returns the place of p in the order of claims: first the released entries in the
// order of their release, then the owned ones by the time of their last delivery. For
// example, the third released entry is before an entry delivered at 1000 ms.
func (p pendingEntry) due() uint64 {
	if p.cid == 0 {
		return p.time
	}
	return claimOwned | p.time
}

// deliveredMS returns the time of p's last delivery, or zero when p was released.
func (p pendingEntry) deliveredMS() int64 {
	if p.cid == 0 {
		return 0
	}
	return int64(p.time)
}

// idleMS returns the time since p's last delivery, or -1 when p was released.
func (p pendingEntry) idleMS(nowMS int64) int64 {
	if p.cid == 0 {
		return -1
	}
	return max(nowMS-int64(p.time), 0)
}

// claimable reports whether p has been idle for minIdleMS, or has no owner.
func (p pendingEntry) claimable(nowMS, minIdleMS int64) bool {
	return p.cid == 0 || minIdleMS <= 0 || nowMS-int64(p.time) >= minIdleMS
}

// delivered counts one more delivery of p.
func (p *pendingEntry) delivered() {
	if p.deliveries < maxDeliveries {
		p.deliveries++
	}
}

// claimableBelow returns the place in the order of claims below which all entries are
// claimable: released, or idle for minIdleMS at nowMS.
func claimableBelow(nowMS, minIdleMS int64) uint64 {
	if minIdleMS > nowMS {
		return claimOwned
	}
	return claimOwned | uint64(nowMS-max(minIdleMS, 0)+1)
}

// mayHold reports whether id is within the bounds of g's pending entries.
func (g *group) mayHold(id ID) bool {
	return g.pending+uint64(len(g.leftovers)) > 0 && !id.Less(g.minPending) && !g.maxPending.Less(id)
}

// getPending returns the pending entry id of g, and whether there is one.
func (tx *Tx) getPending(h *Head, g *group, id ID) (pendingEntry, bool, error) {
	p, ok, err := tx.readPending(h, g, id)
	if err != nil || !ok || g.hides(p) {
		return pendingEntry{}, false, err
	}
	return p, true, nil
}

// readPending is getPending, but it returns leftovers too.
func (tx *Tx) readPending(h *Head, g *group, id ID) (pendingEntry, bool, error) {
	if !g.mayHold(id) {
		return pendingEntry{}, false, nil
	}
	tx.keyBuf = appendPendingKey(tx.keyBuf[:0], h.prefix, g.gid, id)
	v, ok, err := tx.kv.Get(tx.keyBuf)
	if err != nil {
		return pendingEntry{}, false, fmt.Errorf("read pending entry %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	if !ok {
		return pendingEntry{}, false, nil
	}
	p, err := decodePending(v)
	return p, true, err
}

// addPending adds p, whose ID is not pending in g, as owned by c, or as released when c is
// nil. It sets p.cid.
func (tx *Tx) addPending(h *Head, g *group, id ID, c *consumer, p pendingEntry) error {
	p.cid = 0
	if c != nil {
		p.cid = c.cid
	}
	if err := tx.dropHidden(h, g, id); err != nil {
		return err
	}
	if err := tx.setPending(h, g, id, p); err != nil {
		return err
	}
	if err := tx.setDue(h, g, id, p); err != nil {
		return err
	}
	g.pending++
	h.Pending++
	if id.Less(g.minPending) {
		g.minPending = id
	}
	if g.maxPending.Less(id) {
		g.maxPending = id
	}
	tx.changedGroup(h, g)
	return tx.own(h, g, c, id)
}

// movePending replaces the pending entry old by p, as owned by c, or as released when c is
// nil. It sets p.cid.
func (tx *Tx) movePending(h *Head, g *group, id ID, old pendingEntry, c *consumer, p pendingEntry) error {
	p.cid = 0
	if c != nil {
		p.cid = c.cid
	}
	if err := tx.setPending(h, g, id, p); err != nil {
		return err
	}
	if old.cid != p.cid {
		if err := tx.disown(h, g, old.cid, id); err != nil {
			return err
		}
		if err := tx.own(h, g, c, id); err != nil {
			return err
		}
	}
	if old.due() == p.due() {
		return nil
	}
	if err := tx.deleteDue(h, g, id, old); err != nil {
		return err
	}
	if err := tx.setDue(h, g, id, p); err != nil {
		return err
	}
	tx.changedGroup(h, g)
	return nil
}

// dropPending removes the pending entry p, whose ID is id, from g.
func (tx *Tx) dropPending(h *Head, g *group, id ID, p pendingEntry) error {
	tx.keyBuf = appendPendingKey(tx.keyBuf[:0], h.prefix, g.gid, id)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete pending entry %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	if err := tx.deleteDue(h, g, id, p); err != nil {
		return err
	}
	g.pending--
	h.Pending--
	g.checkEmpty()
	tx.changedGroup(h, g)
	return tx.disown(h, g, p.cid, id)
}

func (tx *Tx) setPending(h *Head, g *group, id ID, p pendingEntry) error {
	tx.keyBuf = appendPendingKey(tx.keyBuf[:0], h.prefix, g.gid, id)
	tx.valueBuf = p.append(tx.valueBuf[:0])
	if err := tx.batch.Set(tx.keyBuf, tx.valueBuf); err != nil {
		return fmt.Errorf("put pending entry %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	return nil
}

func (tx *Tx) setDue(h *Head, g *group, id ID, p pendingEntry) error {
	tx.keyBuf = appendDueKey(tx.keyBuf[:0], h.prefix, g.gid, p.due(), id)
	if err := tx.batch.Set(tx.keyBuf, nil); err != nil {
		return fmt.Errorf("put claim order of %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	if g.claimedBefore(p.due(), id) {
		g.minDue, g.minDueID = p.due(), id
	}
	return nil
}

func (tx *Tx) deleteDue(h *Head, g *group, id ID, p pendingEntry) error {
	tx.keyBuf = appendDueKey(tx.keyBuf[:0], h.prefix, g.gid, p.due(), id)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete claim order of %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	tx.loosenGroup(h, g)
	return nil
}

// own adds the key of id under its owner c. For a nil c it does nothing.
func (tx *Tx) own(h *Head, g *group, c *consumer, id ID) error {
	if c == nil {
		return nil
	}
	tx.keyBuf = appendOwnedKey(tx.keyBuf[:0], h.prefix, g.gid, c.cid, id)
	if err := tx.batch.Set(tx.keyBuf, nil); err != nil {
		return fmt.Errorf("put %v of consumer %q of group %q of %q: %w", id, c.name, g.name, h.Name, err)
	}
	c.pending++
	if id.Less(c.minOwned) {
		c.minOwned = id
	}
	tx.changedConsumer(h, g, c)
	return nil
}

// disown deletes the key of id under the owner with this number. For zero it does nothing.
func (tx *Tx) disown(h *Head, g *group, cid uint64, id ID) error {
	if cid == 0 {
		return nil
	}
	c, err := tx.consumerByCID(h, g, cid)
	if err != nil {
		return err
	}
	tx.keyBuf = appendOwnedKey(tx.keyBuf[:0], h.prefix, g.gid, cid, id)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete %v of consumer %q of group %q of %q: %w", id, c.name, g.name, h.Name, err)
	}
	if c.pending--; c.pending == 0 {
		c.noPending()
	} else {
		tx.loosenConsumer(h, g, c)
	}
	tx.changedConsumer(h, g, c)
	return nil
}

// pendingBounds returns the range [lo, hi) of the keys of g's pending entries from from to
// to, both included. It narrows the range to the bounds of g.
func pendingBounds(h *Head, g *group, from, to ID) (lo, hi []byte) {
	if from.Less(g.minPending) {
		from = g.minPending
	}
	if g.maxPending.Less(to) {
		to = g.maxPending
	}
	lo = appendPendingKey(make([]byte, 0, len(h.prefix)+32), h.prefix, g.gid, from)
	hi = appendPendingKey(make([]byte, 0, len(h.prefix)+32), h.prefix, g.gid, to)
	return lo, append(hi, 0)
}

// ownedBounds is pendingBounds for the entries that c owns.
func ownedBounds(h *Head, g *group, c *consumer, from, to ID) (lo, hi []byte) {
	if from.Less(c.minOwned) {
		from = c.minOwned
	}
	if g.maxPending.Less(to) {
		to = g.maxPending
	}
	return ownedSpan(h, g, c.cid, from, to)
}

// ownedSpan returns the range [lo, hi) of the keys of what consumer cid of g owns from from
// to to, both included.
func ownedSpan(h *Head, g *group, cid uint64, from, to ID) (lo, hi []byte) {
	lo = appendOwnedKey(make([]byte, 0, len(h.prefix)+40), h.prefix, g.gid, cid, from)
	hi = appendOwnedKey(make([]byte, 0, len(h.prefix)+40), h.prefix, g.gid, cid, to)
	return lo, append(hi, 0)
}

// dueBounds returns the range [lo, hi) of the keys below a place in g's order of claims.
func dueBounds(h *Head, g *group, below uint64) (lo, hi []byte) {
	lo = appendDueKey(make([]byte, 0, len(h.prefix)+40), h.prefix, g.gid, g.minDue, g.minDueID)
	hi = appendDueKey(make([]byte, 0, len(h.prefix)+40), h.prefix, g.gid, below, ID{})
	if below <= g.minDue {
		hi = lo
	}
	return lo, hi
}

// eachPending calls f on the pending entries of g from from to to, both included, in the
// order of their IDs, until f returns false or an error.
func (tx *Tx) eachPending(h *Head, g *group, from, to ID, f func(id ID, p pendingEntry) (bool, error)) error {
	if g.pending == 0 || to.Less(from) || to.Less(g.minPending) || g.maxPending.Less(from) {
		return nil
	}
	if err := tx.tightenGroup(h, g); err != nil {
		return err
	}
	lo, hi := pendingBounds(h, g, from, to)
	return tx.scan(lo, hi, func(key, value []byte) (bool, error) {
		p, err := decodePending(value)
		if err = firstError(err, tx.step(1)); err != nil || g.hides(p) {
			return true, err
		}
		return f(idOfKey(key), p)
	})
}

// eachOwned is eachPending for the entries that c owns.
func (tx *Tx) eachOwned(h *Head, g *group, c *consumer, from, to ID, f func(id ID, p pendingEntry) (bool, error)) error {
	if c.pending == 0 || to.Less(from) || to.Less(c.minOwned) || g.maxPending.Less(from) {
		return nil
	}
	if err := tx.tightenConsumer(h, g, c); err != nil {
		return err
	}
	lo, hi := ownedBounds(h, g, c, from, to)
	return tx.eachIndexed(h, g, lo, hi, f)
}

// eachClaimable calls f on the pending entries of g below a place in the order of claims,
// in that order, until f returns false or an error.
func (tx *Tx) eachClaimable(h *Head, g *group, below uint64, f func(id ID, p pendingEntry) (bool, error)) error {
	if g.pending == 0 || below <= g.minDue {
		return nil
	}
	if err := tx.tightenGroup(h, g); err != nil {
		return err
	}
	lo, hi := dueBounds(h, g, below)
	return tx.eachIndexed(h, g, lo, hi, f)
}

// eachIndexed calls f on the pending entries that the index keys in [lo, hi) name, in the
// order of the index.
func (tx *Tx) eachIndexed(h *Head, g *group, lo, hi []byte, f func(id ID, p pendingEntry) (bool, error)) (err error) {
	pending := tx.pendingCursor(h, g)
	defer func() { err = firstError(err, pending.close()) }()
	return tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
		id := idOfKey(key)
		p, err := pending.indexed(id)
		if err = firstError(err, tx.step(1)); err != nil || g.hides(p) {
			return true, err
		}
		return f(id, p)
	})
}

// pendingEnds returns the least and the greatest ID of g's pending entries, of which there
// must be one.
func (tx *Tx) pendingEnds(h *Head, g *group) (first, last ID, err error) {
	lo, hi := pendingBounds(h, g, ID{}, MaxID)
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return ID{}, ID{}, err
	}
	defer func() { err = firstError(err, it.Close()) }()
	find := func(start, move func() bool) (ID, error) {
		for ok := start(); ok; ok = move() {
			p, err := decodePending(it.Value())
			if err != nil || !g.hides(p) {
				return idOfKey(it.Key()), err
			}
		}
		return ID{}, firstError(it.Error(), fmt.Errorf("stream: there is no key from %s on, but a count is not zero", PrintKey(lo)))
	}
	if first, err = find(it.First, it.Next); err == nil {
		last, err = find(it.Last, it.Prev)
	}
	return first, last, err
}
