package stream

import (
	"millrace/command"
	"millrace/resp"
)

// STRLEN key: answers the length of the string at key in bytes, or 0 when there is none.
var strlen = Command{
	Command: command.Command{
		Name: "strlen", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "string", "fast"},
		Since:      "2.2.0", Group: "string",
		Summary:    "Counts the bytes of a string.",
		Complexity: "O(1)",
	},
	Run: runStrLen,
}

func runStrLen(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stringAt(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	return resp.Int(int64(h.Length)), nil
}
