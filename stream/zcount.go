package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZCOUNT key min max: the number of members of the sorted set at key with scores from min to max.
var zcount = Command{
	Command: command.Command{
		Name: "zcount", Arity: 4, Flags: command.ReadOnly | command.Fast,
		Usage:      "key min:double max:double",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "2.0.0", Group: "sorted-set",
		Summary:    "Counts the members of a sorted set in a range of scores.",
		Complexity: "O(M) for M members in the range; O(1) for all.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseScoreRange(argv[2], argv[3])
			return refusal
		},
	},
	Run: runZCount,
}

func runZCount(tx *Tx, argv [][]byte) (resp.Value, error) {
	r, refusal := parseScoreRange(argv[2], argv[3])
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	case r.all(h):
		return resp.Int(int64(h.Length)), nil
	}
	n := int64(0)
	refusal, err = tx.eachMember(h, r, false, func(float64, []byte) (bool, error) {
		n++
		return true, nil
	})
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Int(n), nil
}
