package stream

import (
	"millrace/command"
	"millrace/resp"
)

// EXISTS key [key …]: answers the number of these names that exist. A name that is given
// twice counts twice.
var exists = Command{
	Command: command.Command{
		Name: "exists", Arity: -2, Flags: command.ReadOnly | command.Fast,
		Usage: "key...",
		History: []string{
			"3.0.3 More than one key can be asked for.",
		},
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Counts the given keys that exist.",
		Complexity: "O(K) for K keys.",
	},
	Run: countExisting,
}

// TOUCH key [key …]: does the same as EXISTS. Millrace keeps no access times, because it
// evicts nothing.
var touch = Command{
	Command: command.Command{
		Name: "touch", Arity: -2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "3.2.1", Group: "generic",
		Summary:    "Counts the given keys that exist; there are no access times to change.",
		Complexity: "O(K) for K keys.",
	},
	Run: countExisting,
}

func countExisting(tx *Tx, argv [][]byte) (resp.Value, error) {
	n := int64(0)
	for _, name := range argv[1:] {
		h, err := tx.head(name)
		if err != nil {
			return resp.Value{}, err
		}
		if h != nil {
			n++
		}
	}
	return resp.Int(n), nil
}
