package stream

import (
	"millrace/command"
	"millrace/resp"
)

// PERSIST key: removes the deadline of a name. It answers 1 when there was a deadline,
// otherwise 0.
var persist = Command{
	Command: command.Command{
		Name: "persist", Arity: 2, Flags: command.Write | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"keyspace", "write", "fast"},
		Since:      "2.2.0", Group: "generic",
		Summary:    "Lets a key live for ever again.",
		Complexity: "O(1)",
	},
	Run: runPersist,
}

func runPersist(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, err := tx.head(argv[1])
	if err != nil {
		return resp.Value{}, err
	}
	if h == nil || h.ExpireAtMS == 0 {
		return resp.Int(0), nil
	}
	tx.modified(h)
	return resp.Int(1), tx.setDeadline(h, 0)
}
