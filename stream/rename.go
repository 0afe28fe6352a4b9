package stream

import (
	"bytes"

	"millrace/command"
	"millrace/resp"
)

// RENAME key newkey: gives what key holds, with its time to live, groups, pending
// entries and idempotent producers, to newkey, in place of what that holds.
var rename = Command{
	Command: command.Command{
		Name: "rename", Arity: 3, Flags: command.Write,
		Usage:      "key newkey:key",
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RW access delete; OW update"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Renames a key and overwrites the destination.",
		Complexity: "O(N) where N is the number of records of the value.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		refusal, _, err := tx.rename(argv[1], argv[2], false)
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.OK, nil
	},
}

// RENAMENX key newkey: as RENAME, but only where newkey does not exist. It answers
// whether it did.
var renamenx = Command{
	Command: command.Command{
		Name: "renamenx", Arity: 3, Flags: command.Write | command.Fast,
		Usage: "key newkey:key",
		History: []string{
			"3.2.0 The command no longer returns an error when source and destination names are the same.",
		},
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RW access delete; OW insert"},
		Categories: []string{"keyspace", "write", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Renames a key only when the target key name doesn't exist.",
		Complexity: "O(N) where N is the number of records of the value.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		refusal, done, err := tx.rename(argv[1], argv[2], true)
		switch {
		case err != nil || refusal != nil:
			return refused(refusal, err)
		case done:
			return resp.Int(1), nil
		}
		return resp.Int(0), nil
	},
}

// rename reports whether it gave the value of one name to another. onlyNew says that the
// other must not exist.
func (tx *Tx) rename(from, to []byte, onlyNew bool) (refusal *resp.Value, done bool, err error) {
	h, err := tx.head(from)
	switch {
	case err != nil:
		return nil, false, err
	case h == nil:
		return &errNoSuchKey, false, nil
	case bytes.Equal(from, to):
		return nil, false, nil
	}
	old, err := tx.head(to)
	if err != nil || old != nil && onlyNew {
		return nil, false, err
	}
	if refusal, err := tx.copyTo(h, to, old); refusal != nil || err != nil {
		return refusal, false, err
	}
	return nil, true, tx.remove(h)
}
