package stream

import (
	"fmt"
	"math"
)

// Every index of the pending entries has a lower bound where its scans start. Deletions
// leave tombstones behind that bound, until it is made exact again. A command that has
// deleted much does this once, when it ends or before it scans the index itself, so that
// it skips each of its own tombstones at most once per index. For example an XACK of the
// first 10,000 entries deletes 10,000 keys of each index, and then moves each bound over
// them with one scan.

// maxLoose bounds the tombstones that a scan may have to skip before its first entry. A
// command that reaches this number of deletions from an index makes the bound exact.
const maxLoose = 128

// loosened is a group, or a consumer of it if c is not nil, whose bounds the command has
// to make exact.
type loosened struct {
	h *Head
	g *group
	c *consumer
}

// noPending sets the bounds of a group without pending entries.
func (g *group) noPending() {
	g.minPending, g.maxPending, g.minDue, g.minDueID, g.loose = MaxID, ID{}, math.MaxUint64, MaxID, 0
}

// noPending sets the bound of a consumer without pending entries.
func (c *consumer) noPending() { c.minOwned, c.loose = MaxID, 0 }

// checkEmpty resets the bounds when neither pending entries nor leftovers are left.
func (g *group) checkEmpty() {
	if g.pending == 0 && len(g.leftovers) == 0 {
		g.noPending()
	}
}

// claimedBefore reports whether the place of id in the order of claims is below the bound.
func (g *group) claimedBefore(due uint64, id ID) bool {
	return due < g.minDue || due == g.minDue && id.Less(g.minDueID)
}

// loosenGroup counts one deletion from g's pending entries.
func (tx *Tx) loosenGroup(h *Head, g *group) {
	if g.loose++; g.loose == maxLoose {
		tx.loosened = append(tx.loosened, loosened{h: h, g: g})
	}
}

// loosenConsumer counts one deletion from c's pending entries.
func (tx *Tx) loosenConsumer(h *Head, g *group, c *consumer) {
	if c.loose++; c.loose == maxLoose {
		tx.loosened = append(tx.loosened, loosened{h: h, g: g, c: c})
	}
}

// tightenPending makes the bounds exact that the command has left loose. Apply calls it after
// each command, and not once for a batch, because replicas batch records differently and
// the bounds are part of the state.
func (tx *Tx) tightenPending() error {
	for _, l := range tx.loosened {
		var err error
		switch {
		case l.h.gone || l.g.gone || l.c != nil && l.c.gone:
		case l.c != nil:
			err = tx.tightenConsumer(l.h, l.g, l.c)
		default:
			err = tx.tightenGroup(l.h, l.g)
		}
		if err != nil {
			return err
		}
	}
	tx.loosened = tx.loosened[:0]
	return nil
}

// tightenGroup makes the lower bounds of g's pending entries exact after maxLoose
// deletions.
func (tx *Tx) tightenGroup(h *Head, g *group) error {
	if g.loose < maxLoose {
		return nil
	}
	lo, hi := pendingBounds(h, g, ID{}, MaxID)
	first, err := tx.firstKey(lo, hi)
	if err != nil {
		return fmt.Errorf("find the first pending entry of group %q of %q: %w", g.name, h.Name, err)
	}
	g.minPending = idOfKey(first)
	lo, hi = dueBounds(h, g, math.MaxUint64)
	if first, err = tx.firstKey(lo, hi); err != nil {
		return fmt.Errorf("find the first to claim of group %q of %q: %w", g.name, h.Name, err)
	}
	g.minDue, g.minDueID, g.loose = dueOfKey(first), idOfKey(first), 0
	tx.changedGroup(h, g)
	return nil
}

// tightenConsumer makes the lower bound of c's pending entries exact after maxLoose
// deletions.
func (tx *Tx) tightenConsumer(h *Head, g *group, c *consumer) error {
	if c.loose < maxLoose {
		return nil
	}
	lo, hi := ownedBounds(h, g, c, ID{}, MaxID)
	first, err := tx.firstKey(lo, hi)
	if err != nil {
		return fmt.Errorf("find the first entry of consumer %q of group %q of %q: %w", c.name, g.name, h.Name, err)
	}
	c.minOwned, c.loose = idOfKey(first), 0
	tx.changedConsumer(h, g, c)
	return nil
}

// firstKey returns a copy of the first key in [lo, hi). It is an error when there is none.
func (tx *Tx) firstKey(lo, hi []byte) ([]byte, error) {
	var first []byte
	err := tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
		first = append(first, key...)
		return false, nil
	})
	if err == nil && first == nil {
		err = fmt.Errorf("stream: there is no key from %s on, but a count is not zero", PrintKey(lo))
	}
	return first, err
}
