package stream

import (
	"millrace/command"
	"millrace/resp"
)

// APPEND key value: adds value to the end of the string at key, or creates the string, and
// answers its new length. The whole string is written again.
var appendCmd = Command{
	Command: command.Command{
		Name: "append", Arity: 3, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW insert"},
		Categories: []string{"write", "string", "fast"},
		Since:      "2.0.0", Group: "string",
		Summary:    "Adds bytes to the end of a string, which is empty before the first call.",
		Complexity: "O(N) for a result of N bytes, which is written as a whole.",
	},
	Run: runAppend,
}

func runAppend(tx *Tx, argv [][]byte) (resp.Value, error) {
	old, h, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	n := len(old.Str) + len(argv[2])
	if n > maxStringBytes {
		return errStringTooLong, nil
	}
	atMS := int64(0)
	if h != nil {
		atMS = h.ExpireAtMS
	}
	value := append(append(make([]byte, 0, n), old.Str...), argv[2]...)
	return resp.Int(int64(n)), tx.putString(argv[1], h, value, atMS)
}
