package stream

import (
	"fmt"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// _FLUSH: removes every name of the shard. The router sends it to every shard for
// FLUSHALL. Settings stay, and so does the count of modifications: what is made under an
// old name has another number. Whatever the size of the shard, the work is a few range
// tombstones; compactions do the rest.
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

func (tx *Tx) removeAll() error {
	s := tx.state
	for _, h := range s.cached {
		h.gone, h.dirty = true, true // as in remove
	}
	clear(s.cached)
	s.sys.keys, s.sys.expires, s.sys.dueMS = 0, 0, 0
	s.sys.dirty = true
	s.touched, s.touchedAll = nil, true
	// The shard's own records stand behind all that belongs to names in its first slot.
	lo, hi := kv.SlotBounds(tx.firstSlot, tx.lastSlot)
	_, rest := kv.SlotBounds(tx.firstSlot, tx.firstSlot)
	deadlines, end := deadlineBounds(tx.firstSlot, 0)
	err := firstError(
		tx.batch.DeleteRange(lo, kv.SystemKey(tx.firstSlot, 0)),
		tx.batch.DeleteRange(deadlines, end))
	if err == nil && tx.firstSlot < tx.lastSlot {
		err = tx.batch.DeleteRange(rest, hi)
	}
	return err
}
