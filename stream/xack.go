package stream

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// XACK key group ID [ID ...]: acknowledges entries, so that they are no longer pending, and
// answers the number of those that were.
var xack = Command{
	Command: command.Command{
		Name: "xack", Arity: -4, Flags: command.Write | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Usage:      "key group id...",
		Categories: []string{"write", "stream", "fast"}, Since: "5.0.0", Group: "stream",
		Summary:    "Takes entries off the pending list of a group and counts them.",
		Complexity: "O(K) for K IDs.",
	},
	Run: runXAck,
}

func runXAck(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return resp.Int(0), nil // even if the IDs are malformed, as in Redis
	}
	ids, refusal := parseIDs(argv[3:])
	if refusal != nil {
		return *refusal, nil
	}
	var acked int64
	f := tx.finder(h, len(ids))
	err = eachRising(ids, func(i int, again bool) error {
		if again {
			return nil
		}
		p, ok, err := f.pendingIn(g, ids[i])
		if err != nil || !ok {
			return err
		}
		acked++
		return tx.dropPending(h, g, ids[i], p)
	})
	return resp.Int(acked), f.close(err)
}

// IsAck reports whether argv is an XACK. Package shard needs it for one of its mutants.
func (s *State) IsAck(argv [][]byte) bool { return strings.EqualFold(string(argv[0]), xack.Name) }
