package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP CREATECONSUMER key group consumer: creates a consumer and answers 1, or 0 when it
// exists already.
var xgroupCreateConsumer = Command{
	Command: command.Command{
		Name: "xgroup|createconsumer", Arity: 5, Flags: command.Write | command.DenyOOM, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW insert"},
		Usage:      "key groupname consumername",
		Categories: []string{"write", "stream", "slow"}, Since: "6.2.0", Group: "stream",
		Summary:    "Adds a consumer before its first read.",
		Complexity: "O(1)",
	},
	Run: runXGroupCreateConsumer,
}

func runXGroupCreateConsumer(tx *Tx, argv [][]byte) (resp.Value, error) {
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
	if err != nil {
		return resp.Value{}, err
	}
	if c != nil {
		return resp.Int(0), nil
	}
	if _, err := tx.createConsumer(h, g, argv[4]); err != nil {
		return resp.Value{}, err
	}
	return resp.Int(1), nil
}
