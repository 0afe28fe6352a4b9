package stream

import (
	"millrace/command"
	"millrace/resp"
)

// EXISTS key [key …]: how many of these exist; one named twice counts twice.
var exists = Command{
	Command: command.Command{
		Name: "exists", Arity: -2, Flags: command.ReadOnly | command.Fast,
		Usage: "key...",
		History: []string{
			"3.0.3 Accepts multiple `key` arguments.",
		},
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Determines whether one or more keys exist.",
		Complexity: "O(N) where N is the number of keys to check.",
	},
	Run: countExisting,
}

// TOUCH key [key …]: as EXISTS. There is no eviction, so no access time to change.
var touch = Command{
	Command: command.Command{
		Name: "touch", Arity: -2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "3.2.1", Group: "generic",
		Summary:    "Returns the number of existing keys out of those specified after updating the time they were last accessed.",
		Complexity: "O(N) where N is the number of keys that will be touched.",
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
