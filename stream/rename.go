package stream

import (
	"bytes"

	"millrace/command"
	"millrace/resp"
)

// RENAME key newkey: moves a value to another name, with its time to live, groups, pending
// entries and idempotent producers. A value that was at newkey is removed.
var rename = Command{
	Command: command.Command{
		Name: "rename", Arity: 3, Flags: command.Write,
		Usage:      "key newkey:key",
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RW access delete; OW update"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Moves a value to another key, whose old value is lost.",
		Complexity: "O(N) for a value of N records; a string has two.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		refusal, _, err := tx.rename(argv[1], argv[2], false)
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.OK, nil
	},
}

// RENAMENX key newkey: does the same as RENAME and answers 1, but only when newkey does not
// exist. Otherwise it answers 0.
var renamenx = Command{
	Command: command.Command{
		Name: "renamenx", Arity: 3, Flags: command.Write | command.Fast,
		Usage: "key newkey:key",
		History: []string{
			"3.2.0 Giving the same name twice is answered 0, no error.",
		},
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RW access delete; OW insert"},
		Categories: []string{"keyspace", "write", "fast"},
		Since:      "1.0.0", Group: "generic",
		Summary:    "Moves a value to another key, unless that exists.",
		Complexity: "O(N) for a value of N records; a string has two.",
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

// rename moves the value of one name to another and reports whether it did. With onlyNew,
// the other name must not exist.
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
