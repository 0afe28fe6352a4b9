package stream

import (
	"millrace/command"
	"millrace/resp"
)

// GETDEL key: answers the string at key as GET does, and deletes it.
var getdel = Command{
	Command: command.Command{
		Name: "getdel", Arity: 2, Flags: command.Write | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access delete"},
		Categories: []string{"write", "string", "fast"},
		Since:      "6.2.0", Group: "string",
		Summary:    "Reads a string and removes it.",
		Complexity: "O(1)",
	},
	Run: runGetDel,
}

func runGetDel(tx *Tx, argv [][]byte) (resp.Value, error) {
	v, h, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if h == nil {
		return v, nil
	}
	return v, tx.remove(h)
}
