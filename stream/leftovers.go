package stream

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"millrace/command"
	"millrace/internal/mutant"
	"millrace/kv"
	"millrace/resp"
)

// A deleted consumer may have had a million pending entries. XGROUP DELCONSUMER does not
// remove so many in one step, because all streams of the shard would wait for it. It notes
// the consumer's number in the group instead. From then on the pending entries of that
// number are leftovers: no command sees them, and no count includes them, except
// Head.Pending. _CLEANUP removes them later, in steps of cleanupStep. The shard's leader
// proposes it while there are leftovers, as it proposes _EXPIRE; see State.Due.
//
// A system key for each group with leftovers tells _CLEANUP where to look. When the group
// or the stream is deleted, the key stays until _CLEANUP finds nothing there.
//
//	 0      2        4      5     7      7+n
//	+------+--------+------+-----+------+-------+
//	| slot | 0xFFFF | 'c'  | n   | name | group |
//	| u16  | u16    | u8   | u16 | n B  |       |
//	+------+--------+------+-----+------+-------+

const (
	// keepLeftovers is the number of pending entries up to which XGROUP DELCONSUMER removes
	// them itself, and cleanupStep the number that one _CLEANUP removes.
	keepLeftovers = 4096
	cleanupStep   = 4096

	// maxLeftovers bounds the consumers of one group that have leftovers, because they
	// stand in the group's record. Beyond it, XGROUP DELCONSUMER answers errLeftovers.
	maxLeftovers = 256
)

var errLeftovers = resp.Err("TRYAGAIN The pending entries of many deleted consumers of this group are still being removed")

// leftover counts the pending entries of a deleted consumer that are still to be removed.
type leftover struct {
	cid   uint64
	count uint64
	from  ID // lower bound of their IDs
}

// findLeftover returns the index of the leftovers of consumer cid, or where they belong.
func (g *group) findLeftover(cid uint64) (int, bool) {
	return slices.BinarySearchFunc(g.leftovers, cid, func(l leftover, cid uint64) int { return cmp.Compare(l.cid, cid) })
}

// hides reports whether p is a leftover, which no command may see.
func (g *group) hides(p pendingEntry) bool {
	if len(g.leftovers) == 0 || mutant.LeftoversSeen {
		return false
	}
	_, ok := g.findLeftover(p.cid)
	return ok
}

// leftoverCount returns the number of leftovers of all deleted consumers.
func (g *group) leftoverCount() (n uint64) {
	for _, l := range g.leftovers {
		n += l.count
	}
	return n
}

// leave makes all pending entries of c leftovers.
func (tx *Tx) leave(h *Head, g *group, c *consumer) error {
	i, _ := g.findLeftover(c.cid)
	g.leftovers = slices.Insert(g.leftovers, i, leftover{cid: c.cid, count: c.pending, from: c.minOwned})
	g.pending -= c.pending
	tx.changedGroup(h, g)
	return tx.queueCleanup(h.Name, g.name)
}

// queueCleanup makes _CLEANUP look at a group.
func (tx *Tx) queueCleanup(name, group []byte) error {
	key := cleanupKey(tx.firstSlot, name, group)
	_, ok, err := tx.kv.Get(key)
	if err == nil && !ok {
		tx.state.sys.cleanups++
		tx.state.sys.dirty = true
		err = tx.batch.Set(key, nil)
	}
	if err != nil {
		return fmt.Errorf("queue the cleanup of group %q of %q: %w", group, name, err)
	}
	return nil
}

// dropHidden removes the leftover at id, if there is one, so that id can become pending
// again.
func (tx *Tx) dropHidden(h *Head, g *group, id ID) error {
	if len(g.leftovers) == 0 || !g.mayHold(id) {
		return nil
	}
	p, ok, err := tx.readPending(h, g, id)
	if err != nil || !ok || !g.hides(p) {
		return err
	}
	return tx.dropLeftover(h, g, id, p)
}

// dropLeftover removes the leftover p at id.
func (tx *Tx) dropLeftover(h *Head, g *group, id ID, p pendingEntry) error {
	i, ok := g.findLeftover(p.cid)
	if !ok {
		return fmt.Errorf("stream: pending entry %v of group %q of %q is no leftover", id, g.name, h.Name)
	}
	tx.keyBuf = appendOwnedKey(tx.keyBuf[:0], h.prefix, g.gid, p.cid, id)
	err := tx.batch.Delete(tx.keyBuf)
	if err == nil {
		tx.keyBuf = appendPendingKey(tx.keyBuf[:0], h.prefix, g.gid, id)
		err = tx.batch.Delete(tx.keyBuf)
	}
	if err != nil {
		return fmt.Errorf("delete leftover %v of group %q of %q: %w", id, g.name, h.Name, err)
	}
	if err := tx.deleteDue(h, g, id, p); err != nil {
		return err
	}
	h.Pending--
	if g.leftovers[i].count--; g.leftovers[i].count == 0 {
		g.leftovers = slices.Delete(g.leftovers, i, i+1)
	}
	g.checkEmpty()
	tx.changedGroup(h, g)
	return nil
}

// _CLEANUP: removes up to cleanupStep leftovers of one group.
var cleanupCmd = Command{
	Command: command.Command{
		Name: "_cleanup", Arity: 1, Flags: command.Write | command.Internal, Group: "generic",
		Summary: "Removes pending entries of deleted consumers.",
	},
	Run: runCleanup,
}

func runCleanup(tx *Tx, _ [][]byte) (resp.Value, error) {
	sys := tx.state.sys
	if sys.cleanups == 0 {
		return resp.OK, nil
	}
	key, err := tx.firstKey(cleanupBounds(tx.firstSlot))
	if err != nil {
		return resp.Value{}, err
	}
	name, group, ok := parseCleanupKey(key)
	if !ok {
		return resp.Value{}, fmt.Errorf("stream: %s is no cleanup key", PrintKey(key))
	}
	h, err := tx.loadHead(name)
	if err != nil {
		return resp.Value{}, err
	}
	if h != nil && h.Type == TypeStream {
		g, err := tx.group(h, group)
		if err == nil && g != nil && len(g.leftovers) > 0 {
			err = tx.cleanUp(h, g)
		}
		if err != nil || g != nil && len(g.leftovers) > 0 {
			return resp.OK, err
		}
	}
	sys.cleanups--
	sys.dirty = true
	return resp.OK, tx.batch.Delete(key)
}

// cleanUp removes up to cleanupStep leftovers of the first deleted consumer of g.
func (tx *Tx) cleanUp(h *Head, g *group) error {
	l, n := g.leftovers[0], 0
	pending := tx.pendingCursor(h, g)
	lo, hi := ownedSpan(h, g, l.cid, l.from, g.maxPending)
	err := tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
		id := idOfKey(key)
		if n == cleanupStep {
			g.leftovers[0].from = id
			return false, nil
		}
		n++
		p, err := pending.indexed(id)
		if err != nil {
			return false, err
		}
		return true, tx.dropLeftover(h, g, id, p)
	})
	return firstError(err, pending.close())
}

// cleanupKey returns the key that makes _CLEANUP look at a group.
func cleanupKey(firstSlot uint16, name, group []byte) []byte {
	k := append(make([]byte, 0, 7+len(name)+len(group)), kv.SystemKey(firstSlot, kv.SystemCleanup)...)
	k = binary.BigEndian.AppendUint16(k, uint16(len(name)))
	return append(append(k, name...), group...)
}

// cleanupBounds returns the range [lo, hi) of all cleanup keys.
func cleanupBounds(firstSlot uint16) (lo, hi []byte) {
	return kv.SystemKey(firstSlot, kv.SystemCleanup), kv.SystemKey(firstSlot, kv.SystemCleanup+1)
}

// parseCleanupKey takes a cleanup key apart. The results share memory with it.
func parseCleanupKey(key []byte) (name, group []byte, ok bool) {
	if len(key) < 7 || len(key) < 7+int(binary.BigEndian.Uint16(key[5:])) {
		return nil, nil, false
	}
	n := 7 + int(binary.BigEndian.Uint16(key[5:]))
	return key[7:n], key[n:], true
}

// printLeftovers shows the leftovers in words; nothing if there are none.
func (g *group) printLeftovers() string {
	var b strings.Builder
	for _, l := range g.leftovers {
		fmt.Fprintf(&b, " leftover=[cid=%d count=%d from=%v]", l.cid, l.count, l.from)
	}
	return b.String()
}
