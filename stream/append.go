package stream

import (
	"millrace/command"
	"millrace/resp"
)

// APPEND key value: puts value at the end of the string at key, or makes it one, and
// answers its length. The whole value is written again.
var appendCmd = Command{
	Command: command.Command{
		Name: "append", Arity: 3, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key value",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW insert"},
		Categories: []string{"write", "string", "fast"},
		Since:      "2.0.0", Group: "string",
		Summary:    "Appends a string to the value of a key. Creates the key if it doesn't exist.",
		Complexity: "O(N) where N is the length of the string.",
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
