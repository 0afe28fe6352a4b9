package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HSETNX key field value: sets a field of the hash at key if the field is not there, and answers
// whether it did.
var hsetnx = Command{
	Command: command.Command{
		Name: "hsetnx", Arity: 4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key field value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW insert"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Sets a field of a hash unless it is there.",
		Complexity: "O(1)",
		Check:      func(argv [][]byte) *resp.Value { return checkFields(argv) },
	},
	Run: runHSetNX,
}

func runHSetNX(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkFields(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if _, ok, err := tx.fieldValue(h, argv[2]); err != nil || ok {
		return resp.Int(0), err
	}
	if h, _, err = tx.hashToChange(argv[1]); err != nil {
		return resp.Value{}, err
	}
	_, err = tx.putField(h, argv[2], argv[3])
	return resp.Int(1), err
}
