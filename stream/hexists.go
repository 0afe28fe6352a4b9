package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HEXISTS key field: whether the hash at key has a field.
var hexists = Command{
	Command: command.Command{
		Name: "hexists", Arity: 3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key field",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Tells whether a hash has a field.",
		Complexity: "O(1)",
	},
	Run: runHExists,
}

func runHExists(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	_, ok, err := tx.fieldValue(h, argv[2])
	if err != nil || !ok {
		return resp.Int(0), err
	}
	return resp.Int(1), nil
}
