package stream

import (
	"millrace/command"
	"millrace/resp"
)

// TYPE key: what a name holds, "none" for nothing.
var typeCmd = Command{
	Command: command.Command{
		Name: "type", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Determines the type of value stored at a key.",
		Complexity: "O(1)",
	},
	Run: runType,
}

func runType(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, err := tx.head(argv[1])
	switch {
	case err != nil:
		return resp.Value{}, err
	case h == nil:
		return resp.Simple("none"), nil
	}
	return resp.Simple(h.Type.String()), nil
}

// String returns the name that TYPE answers.
func (t Type) String() string {
	switch t {
	case TypeStream:
		return "stream"
	case TypeString:
		return "string"
	case TypeHash:
		return "hash"
	case TypeZSet:
		return "zset"
	}
	return "unknown"
}
