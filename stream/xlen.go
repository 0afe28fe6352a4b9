package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XLEN key: answers the number of entries in the stream at key, or 0 when there is none.
var xlen = Command{
	Command: command.Command{
		Name: "xlen", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "stream", "fast"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Counts the entries of a stream.",
		Complexity: "O(1)",
	},
	Run: runXLen,
}

func runXLen(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	return resp.Int(int64(h.Length)), nil
}
