package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZSCAN key cursor [MATCH pattern] [COUNT count]: some members of the sorted set at key with their
// scores, and the cursor to continue with, 0 at the end. A small sorted set is answered as a whole.
var zscan = Command{
	Command: command.Command{
		Name: "zscan", Arity: -3, Flags: command.ReadOnly,
		Usage:      "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
		Tips:       []string{"nondeterministic_output"},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "2.8.0", Group: "sorted-set",
		Summary:    "Walks over the members of a sorted set in steps.",
		Complexity: "O(1) for a step, O(N) for a whole walk over N members.",
		Check:      checkCursor,
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.scanElements(argv, TypeZSet) },
}
