package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP DESTROY key group: deletes the group with its consumers and its PEL; 1 where
// there was one. Calls blocked on the group get NOGROUP.
var xgroupDestroy = Command{
	Command: command.Command{
		Name: "xgroup|destroy", Arity: 4, Flags: command.Write, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW delete"},
		Usage:      "key groupname",
		Categories: []string{"write", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Destroys a consumer group.",
		Complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
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
