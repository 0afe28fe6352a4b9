package stream

import (
	"millrace/command"
	"millrace/resp"
)

// _XGROUPCHECK group key [key …]: answers OK for each key that is a stream with the group, and
// XREADGROUP's error for each other key. For an XREADGROUP over several shards, the router
// asks all of them before it reads from any, so that an error leaves nothing delivered.
var xgroupCheck = Command{
	Command: command.Command{
		Name: "_xgroupcheck", Arity: -3, Flags: command.ReadOnly | command.Internal,
		Keys:       command.Keys{First: 2, Last: -1, Step: 1, Access: "RO"},
		Categories: []string{"read", "stream", "slow"}, Group: "stream",
		Summary:    "Checks that streams have a consumer group.",
		Complexity: "O(K) for K keys.",
	},
	Run: runXGroupCheck,
}

func runXGroupCheck(tx *Tx, argv [][]byte) (resp.Value, error) {
	out := make([]resp.Value, 0, len(argv)-2)
	for _, key := range argv[2:] {
		_, g, refusal, err := tx.streamGroup(key, argv[1])
		switch {
		case err != nil:
			return resp.Value{}, err
		case refusal != nil:
			out = append(out, *refusal)
		case g == nil:
			out = append(out, *noGroupToRead(key, argv[1]))
		default:
			out = append(out, resp.OK)
		}
	}
	return resp.Array(out...), nil
}
