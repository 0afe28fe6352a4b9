package stream

import (
	"fmt"

	"millrace/command"
	"millrace/resp"
)

// MSET key value [key value …]: makes each key a string, whatever it held. All keys are of
// one slot, as in a Redis Cluster, so that it is done as a whole.
var mset = Command{
	Command: command.Command{
		Name: "mset", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage:      "key_value:(key value)...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 2, Access: "OW update"},
		Categories: []string{"write", "string", "slow"},
		Since:      "1.0.1", Group: "string",
		Summary:    "Makes several keys strings, in one step.",
		Complexity: "O(K) for K keys.",
		Check:      func(argv [][]byte) *resp.Value { return checkMSet(argv, "mset") },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		refusal, err := tx.mset(argv, "mset")
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.OK, nil
	},
}

// MSETNX key value [key value …]: the same and answers 1, but only if none of the keys is
// there. Otherwise it answers 0.
var msetnx = Command{
	Command: command.Command{
		Name: "msetnx", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage:      "key_value:(key value)...",
		Keys:       command.Keys{First: 1, Last: -1, Step: 2, Access: "OW insert"},
		Categories: []string{"write", "string", "slow"},
		Since:      "1.0.1", Group: "string",
		Summary:    "Makes several keys strings, if none of them is there.",
		Complexity: "O(K) for K keys.",
		Check:      func(argv [][]byte) *resp.Value { return checkMSet(argv, "msetnx") },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		if refusal := checkMSet(argv, "msetnx"); refusal != nil {
			return *refusal, nil
		}
		for i := 1; i < len(argv); i += 2 {
			h, err := tx.head(argv[i])
			if err != nil || h != nil {
				return resp.Int(0), err
			}
		}
		refusal, err := tx.mset(argv, "msetnx")
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.Int(1), nil
	},
}

// maxSetKeys bounds the keys of one MSET, because nothing else runs in its shard meanwhile.
const maxSetKeys = 10_000

var errManySets = resp.Err(fmt.Sprintf("ERR the command names more than %d keys; send it in parts", maxSetKeys))

func checkMSet(argv [][]byte, name string) *resp.Value {
	switch {
	case len(argv)%2 == 0:
		v := resp.Err("ERR wrong number of arguments for '" + name + "' command")
		return &v
	case len(argv)/2 > maxSetKeys:
		return &errManySets
	}
	for i := 2; i < len(argv); i += 2 {
		if len(argv[i]) > maxStringBytes {
			return &errStringTooLong
		}
	}
	return nil
}

func (tx *Tx) mset(argv [][]byte, name string) (*resp.Value, error) {
	if refusal := checkMSet(argv, name); refusal != nil {
		return refusal, nil
	}
	for i := 1; i < len(argv); i += 2 {
		h, err := tx.head(argv[i])
		if err == nil {
			err = tx.putString(argv[i], h, argv[i+1], 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}
