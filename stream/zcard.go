package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZCARD key: the number of members of the sorted set at key, 0 if there is none.
var zcard = Command{
	Command: command.Command{
		Name: "zcard", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Counts the members of a sorted set.",
		Complexity: "O(1)",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.elementCount(argv[1], TypeZSet) },
}
