package stream

import (
	"millrace/command"
	"millrace/resp"
)

// TYPE key: answers the type of a name's value, or "none" when there is no such name.
var typeCmd = Command{
	Command: command.Command{
		Name: "type", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"keyspace", "read", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Names the type of a value, or says none for a missing key.",
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
