package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP DELCONSUMER key group consumer: deletes the consumer and drops its pending entries.
// It answers their number. They are not delivered again.
var xgroupDelConsumer = Command{
	Command: command.Command{
		Name: "xgroup|delconsumer", Arity: 5, Flags: command.Write, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW delete"},
		Usage:      "key groupname consumername",
		Categories: []string{"write", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Deletes a consumer; its pending entries are lost to the group.",
		Complexity: "O(N) for a consumer with N pending entries.",
	},
	Run: runXGroupDelConsumer,
}

func runXGroupDelConsumer(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.xgroupTarget(argv)
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return *noGroupForKey(argv[2], argv[3]), nil
	}
	c, err := tx.consumer(h, g, argv[4])
	if err != nil || c == nil {
		return resp.Int(0), err
	}
	n := c.pending
	if n > keepLeftovers && len(g.leftovers) == maxLeftovers {
		return errLeftovers, nil
	}
	if err := tx.deleteConsumer(h, g, c); err != nil {
		return resp.Value{}, err
	}
	return resp.Int(int64(n)), nil
}
