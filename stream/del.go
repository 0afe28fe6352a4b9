package stream

import (
	"millrace/command"
	"millrace/resp"
)

// DEL key [key …]: deletes names, and answers how many there were.
var del = Command{
	Command: command.Command{
		Name: "del", Arity: -2, Flags: command.Write,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RM delete"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Deletes one or more keys.",
		Complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
	},
	Run: runDel,
}

// UNLINK key [key …]: as DEL. Both leave the freeing to compactions.
var unlink = Command{
	Command: command.Command{
		Name: "unlink", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RM delete"},
		Categories: []string{"keyspace", "write", "fast"},
		Since:      "4.0.0", Group: "generic",
		Summary:    "Asynchronously deletes one or more keys.",
		Complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
	},
	Run: runDel,
}

func runDel(tx *Tx, argv [][]byte) (resp.Value, error) {
	n := int64(0)
	for _, name := range argv[1:] {
		h, err := tx.head(name)
		if err != nil {
			return resp.Value{}, err
		}
		if h == nil {
			continue
		}
		if err := tx.remove(h); err != nil {
			return resp.Value{}, err
		}
		n++
	}
	return resp.Int(n), nil
}
