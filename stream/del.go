package stream

import (
	"millrace/command"
	"millrace/resp"
)

// DEL key [key …]: deletes names and answers the number of those that existed.
var del = Command{
	Command: command.Command{
		Name: "del", Arity: -2, Flags: command.Write,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RM delete"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Removes keys with their values.",
		Complexity: "O(K) for K keys, however large the values are: many records go with one range tombstone.",
	},
	Run: runDel,
}

// UNLINK key [key …]: does the same as DEL. Both leave it to compactions to free the space.
var unlink = Command{
	Command: command.Command{
		Name: "unlink", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RM delete"},
		Categories: []string{"keyspace", "write", "fast"},
		Since:      "4.0.0", Group: "generic",
		Summary:    "Removes keys with their values, as DEL does; compactions free the space in both cases.",
		Complexity: "O(K) for K keys, however large the values are.",
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
