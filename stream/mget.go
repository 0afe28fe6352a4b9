package stream

import (
	"millrace/command"
	"millrace/resp"
)

// MGET key [key …]: answers the string at each name, or null for a name without a string.
var mget = Command{
	Command: command.Command{
		Name: "mget", Arity: -2, Flags: command.ReadOnly | command.Fast,
		Usage:      "key...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "string", "fast"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Reads several strings; the answer has a null for a key without a string.",
		Complexity: "O(K) for K keys.",
	},
	Run: runMGet,
}

// maxMGetBytes bounds the total size of the values that one MGET reads from a shard.
const maxMGetBytes = 64 << 20

var errMGetTooLarge = resp.Err("ERR the reply would take more than 64 MiB of memory; ask for fewer keys")

func runMGet(tx *Tx, argv [][]byte) (resp.Value, error) {
	out := make([]resp.Value, len(argv)-1)
	size := uint64(0)
	for i, name := range argv[1:] {
		out[i] = resp.Null()
		h, refusal, err := tx.stringAt(name)
		if err != nil {
			return resp.Value{}, err
		}
		if h == nil || refusal != nil {
			continue
		}
		if size += h.Length; size > uint64(tx.room(maxMGetBytes)) {
			return refused(tx.tooLarge(&errMGetTooLarge))
		}
		v, err := tx.stringValue(h)
		if err != nil {
			return resp.Value{}, err
		}
		out[i] = resp.Bulk(v)
	}
	return resp.Array(out...), nil
}
