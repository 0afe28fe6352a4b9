package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// HINCRBY key field n: adds n to the number in a field of the hash at key, 0 if there is none, and
// answers the sum.
var hincrby = Command{
	Command: command.Command{
		Name: "hincrby", Arity: 4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key field increment:int",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Adds to the whole number in a field of a hash.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseHIncrBy(argv)
			return refusal
		},
	},
	Run: runHIncrBy,
}

var errHashInteger = resp.Err("ERR hash value is not an integer")

func parseHIncrBy(argv [][]byte) (n int64, refusal *resp.Value) {
	if n, refusal = parseStep(argv[1:]); refusal != nil {
		return 0, refusal
	}
	return n, checkElements(argv[1], argv[2:3], 0, 1)
}

func runHIncrBy(tx *Tx, argv [][]byte) (resp.Value, error) {
	n, refusal := parseHIncrBy(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	value, ok, err := tx.fieldValue(h, argv[2])
	if err != nil {
		return resp.Value{}, err
	}
	was := int64(0)
	if ok {
		if was, ok = command.ParseInt(value); !ok {
			return errHashInteger, nil
		}
	}
	sum := was + n
	if n > 0 && sum < was || n < 0 && sum > was {
		return errIncrOverflow, nil
	}
	if h, _, err = tx.hashToChange(argv[1]); err != nil {
		return resp.Value{}, err
	}
	_, err = tx.putField(h, argv[2], strconv.AppendInt(nil, sum, 10))
	return resp.Int(sum), err
}
