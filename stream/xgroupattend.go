package stream

import (
	"millrace/command"
	"millrace/resp"
)

// _XGROUPATTEND group consumer key [key …]: records that the consumer has tried to read now,
// in the group of each stream, and answers null. It creates the consumer when it is missing,
// and skips streams without the group. The shard proposes it for an XREADGROUP that is about
// to wait.
var xgroupAttend = Command{
	Command: command.Command{
		Name: "_xgroupattend", Arity: -4, Flags: command.Write | command.DenyOOM | command.Internal,
		Keys:       command.Keys{First: 3, Last: -1, Step: 1, Access: "RW insert"},
		Categories: []string{"write", "stream", "slow"}, Group: "stream",
		Summary:    "Records that a consumer waits.",
		Complexity: "O(K) for K keys.",
	},
	Run: runXGroupAttend,
}

func runXGroupAttend(tx *Tx, argv [][]byte) (resp.Value, error) {
	for _, key := range argv[3:] {
		h, g, refusal, err := tx.streamGroup(key, argv[1])
		if err != nil {
			return resp.Value{}, err
		}
		if refusal != nil || g == nil {
			continue // the waiting call gets this refusal when it is looked at
		}
		if _, err := tx.attend(h, g, argv[2]); err != nil {
			return resp.Value{}, err
		}
	}
	return resp.NullArray(), nil
}
