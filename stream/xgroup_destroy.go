package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP DESTROY key group: deletes the group with its consumers and its pending entries, and
// answers 1, or 0 when there is no such group. Calls blocked on the group are answered
// NOGROUP.
var xgroupDestroy = Command{
	Command: command.Command{
		Name: "xgroup|destroy", Arity: 4, Flags: command.Write, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW delete"},
		Usage:      "key groupname",
		Categories: []string{"write", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Deletes a group with its consumers and pending entries.",
		Complexity: "O(1), however many entries are pending: many records go with one range tombstone.",
	},
	Run: runXGroupDestroy,
}

func runXGroupDestroy(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.xgroupTarget(argv)
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return resp.Int(0), nil
	}
	if err := tx.destroyGroup(h, g); err != nil {
		return resp.Value{}, err
	}
	tx.touch(argv[2])
	return resp.Int(1), nil
}
