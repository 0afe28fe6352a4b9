package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]: some fields of the hash at key with
// their values, and the cursor to continue with, 0 at the end. A small hash is answered as a whole.
var hscan = Command{
	Command: command.Command{
		Name: "hscan", Arity: -3, Flags: command.ReadOnly,
		Usage:      "key cursor:int [MATCH pattern:pattern] [COUNT count:int] [NOVALUES]",
		Tips:       []string{"nondeterministic_output"},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "slow"},
		Since:      "2.8.0", Group: "hash",
		Summary:    "Walks over the fields of a hash in steps.",
		Complexity: "O(1) for a step, O(N) for a whole walk over N fields.",
		Check:      checkCursor,
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.scanElements(argv, TypeHash) },
}
