package stream

import (
	"millrace/command"
	"millrace/resp"
)

// GETSET key value: does the same as SET with GET.
var getset = Command{
	Command: command.Command{
		Name: "getset", Arity: 3, Flags: command.Write | command.DenyOOM | command.Fast,
		Deprecated: "6.2.0 `SET` with the `!GET` argument",
		Usage:      "key value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "string", "fast"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Replaces a string and answers the old one.",
		Complexity: "O(1)",
	},
	Run: runGetSet,
}

func runGetSet(tx *Tx, argv [][]byte) (resp.Value, error) {
	old, _, refusal, err := tx.set(argv[1], argv[2], &setArgs{get: true})
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return old, nil
}
