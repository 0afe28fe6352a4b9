package stream

import (
	"math/big"

	"millrace/command"
	"millrace/resp"
)

// HINCRBYFLOAT key field n: adds n to the decimal number in a field of the hash at key, 0 if there
// is none, and answers the sum as text.
var hincrbyfloat = Command{
	Command: command.Command{
		Name: "hincrbyfloat", Arity: 4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key field increment:double",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.6.0", Group: "hash",
		Summary:    "Adds to the decimal number in a field of a hash.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseIncrement(argv)
			return refusal
		},
	},
	Run: runHIncrByFloat,
}

var (
	errNotFloat  = resp.Err("ERR value is not a valid float")
	errInfinite  = resp.Err("ERR value is NaN or Infinity")
	errHashFloat = resp.Err("ERR hash value is not a float")
	errSumFloat  = resp.Err("ERR increment would produce NaN or Infinity")
)

func parseIncrement(argv [][]byte) (*big.Float, *resp.Value) {
	n, ok := parseLongDouble(argv[3])
	switch {
	case !ok:
		return nil, &errNotFloat
	case n.IsInf():
		return nil, &errInfinite
	}
	return n, checkElements(argv[1], argv[2:3], 0, 1)
}

func runHIncrByFloat(tx *Tx, argv [][]byte) (resp.Value, error) {
	n, refusal := parseIncrement(argv)
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
	was := new(big.Float)
	if ok {
		if was, ok = parseLongDouble(value); !ok {
			return errHashFloat, nil
		}
	}
	sum, ok := addLongDoubles(was, n)
	if !ok {
		return errSumFloat, nil
	}
	if h, _, err = tx.hashToChange(argv[1]); err != nil {
		return resp.Value{}, err
	}
	text := appendLongDouble(nil, sum)
	_, err = tx.putField(h, argv[2], text)
	return resp.Bulk(text), err
}
