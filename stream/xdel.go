package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XDEL key ID [ID …]: deletes entries and answers the number of those that existed.
var xdel = Command{
	Command: command.Command{
		Name: "xdel", Arity: -3, Flags: command.Write | command.Fast,
		Usage:      "key id...",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Removes entries from a stream and counts them.",
		Complexity: "O(K) for K IDs, however long the stream is.",
	},
	Run: runXDel,
}

// XDEL has no Check, because Redis does not look at the IDs when the key is missing.
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
	f := tx.finder(h, len(ids))
	err = eachRising(ids, func(i int, again bool) error {
		if again {
			return nil
		}
		ok, err := f.deleteEntry(ids[i], true)
		if ok {
			n++
		}
		return err
	})
	return resp.Int(n), f.close(err)
}
