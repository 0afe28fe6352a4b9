package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id …]: acknowledges entries
// and deletes them from the stream. It answers a number for each ID:
//
//	-1  the entry is not pending
//	1   the entry was acknowledged and deleted
//	2   the entry was acknowledged, but another group has not read and acknowledged it
var xackdel = Command{
	Command: command.Command{
		Name: "xackdel", Arity: -6, Flags: command.Write | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update delete"},
		Usage:      "key group condition:[KEEPREF|DELREF|ACKED] IDS ids:(numids:int id...)",
		Categories: []string{"write", "stream", "fast"}, Since: "8.2.0", Group: "stream",
		Summary:    "Takes entries off the pending list of a group and removes them from the stream.",
		Complexity: "O(K) for K IDs; with DELREF or ACKED, O(K*G) for G groups.",
	},
	Run: runXAckDel, // without a Check, because Redis looks at the key before the options
}

func runXAckDel(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	refs, words, refusal := parseIDList(argv, 3)
	if refusal != nil {
		return *refusal, nil
	}
	out := make([]resp.Value, len(words))
	if g == nil { // even if the IDs are malformed, as in Redis
		for i := range out {
			out[i] = resp.Int(idMissing)
		}
		return resp.Array(out...), nil
	}
	ids, refusal := parseIDs(words)
	if refusal != nil {
		return *refusal, nil
	}
	f := tx.finder(h, len(ids))
	err = eachRising(ids, func(i int, again bool) error {
		n := int64(idMissing) // again: it is not pending any more
		if !again {
			if n, err = f.ackDelete(g, ids[i], refs); err != nil {
				return err
			}
		}
		out[i] = resp.Int(n)
		return nil
	})
	return resp.Array(out...), f.close(err)
}

// ackDelete runs XACKDEL for one ID and returns its answer: idMissing, idDeleted or idKept.
func (f *finder) ackDelete(g *group, id ID, refs refPolicy) (int64, error) {
	p, ok, err := f.pendingIn(g, id)
	if err != nil || !ok {
		return idMissing, err
	}
	if err := f.tx.dropPending(f.h, g, id, p); err != nil {
		return 0, err
	}
	switch refs {
	case delRef:
		if err := f.dropReferences(id, g); err != nil {
			return 0, err
		}
	case ackedRef:
		if kept, err := f.referenced(id, g); err != nil || kept {
			return idKept, err
		}
	}
	_, err = f.deleteEntry(id, true)
	return idDeleted, err
}
