package stream

import (
	"millrace/command"
	"millrace/resp"
)

// SETNX key value: does the same as SET with NX. It answers 1 when it set the string,
// otherwise 0.
var setnx = Command{
	Command: command.Command{
		Name: "setnx", Arity: 3, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "OW insert"},
		Categories: []string{"write", "string", "fast"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Creates a string, unless the key exists.",
		Complexity: "O(1)",
	},
	Run: runSetNX,
}

func runSetNX(tx *Tx, argv [][]byte) (resp.Value, error) {
	_, done, refusal, err := tx.set(argv[1], argv[2], &setArgs{nx: true})
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case done:
		return resp.Int(1), nil
	}
	return resp.Int(0), nil
}
