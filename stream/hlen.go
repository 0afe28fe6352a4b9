package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HLEN key: the number of fields of the hash at key, 0 if there is none.
var hlen = Command{
	Command: command.Command{
		Name: "hlen", Arity: 2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO"},
		Categories: []string{"read", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Counts the fields of a hash.",
		Complexity: "O(1)",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.elementCount(argv[1], TypeHash) },
}

// elementCount returns the reply of HLEN and ZCARD.
func (tx *Tx) elementCount(name []byte, t Type) (resp.Value, error) {
	h, refusal, err := tx.collection(name, t)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	return resp.Int(int64(h.Length)), nil
}
