package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HGET key field: the value of a field of the hash at key, null if there is none.
var hget = Command{
	Command: command.Command{
		Name: "hget", Arity: 3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key field",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Answers the value of one field of a hash.",
		Complexity: "O(1)",
	},
	Run: runHGet,
}

func runHGet(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	value, ok, err := tx.fieldValue(h, argv[2])
	if err != nil || !ok {
		return resp.Null(), err
	}
	return resp.Bulk(value), nil
}
