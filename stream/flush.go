package stream

import (
	"fmt"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// _FLUSH: removes every name of the shard. For FLUSHALL the router sends it to every shard.
// Settings stay. The counter of modifications also stays, so that a name that is created
// again gets a new number. The work is a few range tombstones however large the shard is;
// compactions free the space later.
var flushCmd = Command{
	Command: command.Command{
		Name: "_flush", Arity: 1, Flags: command.Write | command.Internal, Group: "server",
		Summary: "Removes all keys of one shard.",
	},
	Run: func(tx *Tx, _ [][]byte) (resp.Value, error) {
		if err := tx.removeAll(); err != nil {
			return resp.Value{}, fmt.Errorf("remove all names: %w", err)
		}
		return resp.OK, nil
	},
}

// removeAll removes all names of the shard.
func (tx *Tx) removeAll() error {
	s := tx.state
	for _, h := range s.cached {
		h.gone, h.dirty = true, true // as in remove
	}
	clear(s.cached)
	s.sys.keys, s.sys.expires, s.sys.dueMS, s.sys.cleanups = 0, 0, 0, 0
	s.sys.dirty = true
	s.touched, s.touchedAll = nil, true
	// The system keys, which stay, come after all keys of names in the first slot. Three
	// ranges leave them out: those names, the deadlines, and the slots after the first.
	lo, hi := kv.SlotBounds(tx.firstSlot, tx.lastSlot)
	_, rest := kv.SlotBounds(tx.firstSlot, tx.firstSlot)
	deadlines, end := deadlineBounds(tx.firstSlot, 0)
	err := firstError(
		tx.batch.DeleteRange(lo, kv.SystemKey(tx.firstSlot, 0)),
		tx.batch.DeleteRange(deadlines, end),
		tx.batch.DeleteRange(cleanupBounds(tx.firstSlot)))
	if err == nil && tx.firstSlot < tx.lastSlot {
		err = tx.batch.DeleteRange(rest, hi)
	}
	return err
}
