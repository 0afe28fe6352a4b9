package stream

import "millrace/resp"

// _XGROUPCHECK group key [key …]: +OK, or the error that XREADGROUP would give for the
// first key that is no stream with such a group. The router asks it of every shard that
// an XREADGROUP reads from before it reads from any.
var xgroupCheck = Command{
	Name: "_xgroupcheck", Arity: -3, Flags: ReadOnly | Internal,
	Keys:       Keys{First: 2, Last: -1, Step: 1, Access: "RO"},
	Categories: []string{"read", "stream", "slow"}, Group: "stream",
	Summary:    "Checks that streams have a consumer group.",
	Complexity: "O(N) with N being the number of keys.",
	Run:        runXGroupCheck,
}

func runXGroupCheck(tx *Tx, argv [][]byte) (resp.Value, error) {
	for _, key := range argv[2:] {
		_, g, refusal, err := tx.streamGroup(key, argv[1])
		switch {
		case err != nil:
			return resp.Value{}, err
		case refusal != nil:
			return *refusal, nil
		case g == nil:
			return *noGroupToRead(key, argv[1]), nil
		}
	}
	return resp.OK, nil
}
