package stream

import (
	"bytes"

	"millrace/command"
	"millrace/resp"
)

// HGETALL key: all fields of the hash at key with their values. A small hash has them in the order
// in which they were added.
var hgetall = Command{
	Command: command.Command{
		Name: "hgetall", Arity: 2, Flags: command.ReadOnly,
		Usage:      "key",
		Tips:       []string{"nondeterministic_output_order"},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "slow"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Answers all fields of a hash with their values.",
		Complexity: "O(N) for N fields.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.allFields(argv[1], true, true) },
}

// HKEYS key: all fields of the hash at key, in the order of HGETALL.
var hkeys = Command{
	Command: command.Command{
		Name: "hkeys", Arity: 2, Flags: command.ReadOnly,
		Usage:      "key",
		Tips:       []string{"nondeterministic_output_order"},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "slow"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Answers the names of all fields of a hash.",
		Complexity: "O(N) for N fields.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.allFields(argv[1], true, false) },
}

// HVALS key: the values of all fields of the hash at key, in the order of HGETALL.
var hvals = Command{
	Command: command.Command{
		Name: "hvals", Arity: 2, Flags: command.ReadOnly,
		Usage:      "key",
		Tips:       []string{"nondeterministic_output_order"},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "slow"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Answers the values of all fields of a hash.",
		Complexity: "O(N) for N fields.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.allFields(argv[1], false, true) },
}

// allFields returns the names or the values of all fields, or a map of both.
func (tx *Tx) allFields(name []byte, names, values bool) (resp.Value, error) {
	h, refusal, err := tx.collection(name, TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	r := tx.elementReply()
	fits := true
	if h != nil {
		refusal, err = tx.inOrder(h, func(field, record []byte) (bool, error) {
			_, value, err := decodeField(record)
			if names {
				fits = r.add(resp.Bulk(bytes.Clone(field)))
			}
			if values {
				fits = r.add(resp.Bulk(bytes.Clone(value)))
			}
			return fits, err
		})
	}
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case !fits:
		return refused(tx.tooLarge(&errReplyTooLarge))
	case names && values:
		return resp.Map(r.out...), nil
	}
	return resp.Array(r.out...), nil
}
