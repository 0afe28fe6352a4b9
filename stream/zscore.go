package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZSCORE key member: the score of a member of the sorted set at key, null if there is none.
var zscore = Command{
	Command: command.Command{
		Name: "zscore", Arity: 3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key member",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Answers one member's score, or null.",
		Complexity: "O(1)",
	},
	Run: runZScore,
}

// ZMSCORE key member [member …]: the scores of members of the sorted set at key, null for those that
// are not there.
var zmscore = Command{
	Command: command.Command{
		Name: "zmscore", Arity: -3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key member...",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "6.2.0", Group: "sorted-set",
		Summary:    "Answers the scores of several members of a sorted set.",
		Complexity: "O(N) for N members.",
		Check:      checkNames,
	},
	Run: runZMScore,
}

func runZScore(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	score, ok, err := tx.score(h, argv[2])
	if err != nil || !ok {
		return resp.Null(), err
	}
	return resp.Double(score), nil
}

func runZMScore(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkNames(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if refusal, err := tx.lookAhead(h, argv[2:], 1); err != nil || refusal != nil {
		return refused(refusal, err)
	}
	defer tx.endLookahead()
	out := make([]resp.Value, len(argv)-2)
	for i, member := range argv[2:] {
		score, ok, err := tx.score(h, member)
		if err != nil {
			return resp.Value{}, err
		}
		if ok {
			out[i] = resp.Double(score)
		}
	}
	return resp.Array(out...), nil
}
