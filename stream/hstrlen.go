package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HSTRLEN key field: the bytes of a field's value, 0 if there is none.
var hstrlen = Command{
	Command: command.Command{
		Name: "hstrlen", Arity: 3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key field",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "hash", "fast"},
		Since:      "3.2.0", Group: "hash",
		Summary:    "Answers the length in bytes of a single hash field.",
		Complexity: "O(1)",
	},
	Run: runHStrLen,
}

func runHStrLen(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	value, _, err := tx.fieldValue(h, argv[2])
	return resp.Int(int64(len(value))), err
}
