package stream

import (
	"millrace/command"
	"millrace/resp"
)

// _XGROUPATTEND group consumer key [key …]: notes in the groups that are there that the
// consumer, which is made where there is none, has tried to get entries, and answers null.
// The shard runs it for an XREADGROUP that is to wait.
var xgroupAttend = Command{
	Command: command.Command{
		Name: "_xgroupattend", Arity: -4, Flags: command.Write | command.DenyOOM | command.Internal,
		Keys:       command.Keys{First: 3, Last: -1, Step: 1, Access: "RW insert"},
		Categories: []string{"write", "stream", "slow"}, Group: "stream",
		Summary:    "Notes that a consumer waits.",
		Complexity: "O(N) with N being the number of keys.",
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
			continue // the call itself is told when it is looked at
		}
		if _, err := tx.attend(h, g, argv[2]); err != nil {
			return resp.Value{}, err
		}
	}
	return resp.NullArray(), nil
}
