package stream

import (
	"millrace/command"
	"millrace/resp"
)

// SETRANGE key offset value: writes value over the bytes of a string from offset on, and
// answers the new length. Bytes that are missing before offset become zero.
var setrange = Command{
	Command: command.Command{
		Name: "setrange", Arity: 4, Flags: command.Write | command.DenyOOM,
		Usage:      "key offset:int value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "string", "slow"},
		Since:      "2.2.0", Group: "string",
		Summary:    "Writes over a part of a string, which grows with zero bytes as far as needed.",
		Complexity: "O(N) for a result of N bytes, which is written as a whole.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseOffset(argv)
			return refusal
		},
	},
	Run: runSetRange,
}

var errOffset = resp.Err("ERR offset is out of range")

func parseOffset(argv [][]byte) (int64, *resp.Value) {
	n, ok := command.ParseInt(argv[2])
	switch {
	case !ok:
		return 0, &command.ErrNotInteger
	case n < 0:
		return 0, &errOffset
	}
	return n, nil
}

func runSetRange(tx *Tx, argv [][]byte) (resp.Value, error) {
	offset, refusal := parseOffset(argv)
	if refusal != nil {
		return *refusal, nil
	}
	old, h, refusal, err := tx.bulkAt(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case len(argv[3]) == 0:
		return resp.Int(int64(len(old.Str))), nil
	case offset > maxStringBytes-int64(len(argv[3])):
		return errStringTooLong, nil
	}
	value := make([]byte, max(int64(len(old.Str)), offset+int64(len(argv[3]))))
	copy(value, old.Str)
	copy(value[offset:], argv[3])
	atMS := int64(0)
	if h != nil {
		atMS = h.ExpireAtMS
	}
	return resp.Int(int64(len(value))), tx.putString(argv[1], h, value, atMS)
}
