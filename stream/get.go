package stream

import (
	"millrace/command"
	"millrace/resp"
)

// GET key: answers the string at key, or null when there is none.
var get = Command{
	Command: command.Command{
		Name: "get", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "string", "fast"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Reads a string.",
		Complexity: "O(1)",
	},
	Run: runGet,
}

func runGet(tx *Tx, argv [][]byte) (resp.Value, error) {
	v, _, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return v, nil
}
