package stream

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// XACK key group ID [ID ...]: the entries have been dealt with; how many were pending.
var xack = Command{
	Command: command.Command{
		Name: "xack", Arity: -4, Flags: command.Write | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Usage:      "key group id...",
		Categories: []string{"write", "stream", "fast"}, Since: "5.0.0", Group: "stream",
		Summary:    "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.",
		Complexity: "O(1) for each message ID processed.",
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
		return resp.Int(0), nil // whatever the IDs are
	}
	ids, refusal := parseIDs(argv[3:])
	if refusal != nil {
		return *refusal, nil
	}
	var acked int64
	for _, id := range ids {
		p, ok, err := tx.getPending(h, g, id)
		if err != nil {
			return resp.Value{}, err
		}
		if !ok {
			continue
		}
		if err := tx.dropPending(h, g, id, p); err != nil {
			return resp.Value{}, err
		}
		acked++
	}
	return resp.Int(acked), nil
}

// IsAck reports whether argv is an XACK. Package shard asks for one of its mutants.
func (s *State) IsAck(argv [][]byte) bool { return strings.EqualFold(string(argv[0]), xack.Name) }
