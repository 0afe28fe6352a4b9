package stream

import (
	"math/big"

	"millrace/command"
	"millrace/resp"
)

// INCRBYFLOAT key n: adds n to the decimal number that a string holds, 0 if there is none,
// and answers the sum as text. The numbers are those of HINCRBYFLOAT.
var incrbyfloat = Command{
	Command: command.Command{
		Name: "incrbyfloat", Arity: 3, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key increment:double",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "string", "fast"},
		Since:      "2.6.0", Group: "string",
		Summary:    "Adds to the decimal number that a string holds.",
		Complexity: "O(1)",
	},
	Run: runIncrByFloat,
}

// runIncrByFloat looks at the string before it reads the increment, as Redis does.
func runIncrByFloat(tx *Tx, argv [][]byte) (resp.Value, error) {
	old, h, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	was, atMS := new(big.Float), int64(0)
	if h != nil {
		ok := false
		if was, ok = parseLongDouble(old.Str); !ok {
			return errNotFloat, nil
		}
		atMS = h.ExpireAtMS
	}
	n, ok := parseLongDouble(argv[2])
	if !ok {
		return errNotFloat, nil
	}
	sum, ok := addLongDoubles(was, n)
	if !ok {
		return errSumFloat, nil
	}
	text := appendLongDouble(nil, sum)
	return resp.Bulk(text), tx.putString(argv[1], h, text, atMS)
}
