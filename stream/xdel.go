package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XDEL key ID [ID …]: deletes entries, and answers how many there were.
var xdel = Command{
	Command: command.Command{
		Name: "xdel", Arity: -3, Flags: command.Write | command.Fast,
		Usage:      "key id...",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Returns the number of messages after removing them from a stream.",
		Complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
	},
	Run: runXDel,
}

// On a missing key the IDs are not looked at, so there is nothing to check beforehand.
func runXDel(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	ids, refusal := parseIDs(argv[2:])
	if refusal != nil {
		return *refusal, nil
	}
	n := int64(0)
	for _, id := range ids {
		ok, err := tx.deleteEntry(h, id, true)
		if err != nil {
			return resp.Value{}, err
		}
		if ok {
			n++
		}
	}
	return resp.Int(n), nil
}
