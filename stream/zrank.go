package stream

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// ZRANK key member [WITHSCORE]: how many members of the sorted set at key come before a member, null
// if it is not there. WITHSCORE adds its score.
var zrank = Command{
	Command: command.Command{
		Name: "zrank", Arity: -3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key member [WITHSCORE]",
		History:    []string{"7.2.0 The option `WITHSCORE` came."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "2.0.0", Group: "sorted-set",
		Summary:    "Answers the rank of a member of a sorted set.",
		Complexity: "O(R) for R members between it and the nearer end.",
		Check:      func(argv [][]byte) *resp.Value { return checkRank(argv) },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.rankOf(argv, false) },
}

// ZREVRANK key member [WITHSCORE]: as ZRANK, and counts the members that come after it.
var zrevrank = Command{
	Command: command.Command{
		Name: "zrevrank", Arity: -3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key member [WITHSCORE]",
		History:    []string{"7.2.0 The option `WITHSCORE` came."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "fast"},
		Since:      "2.0.0", Group: "sorted-set",
		Summary:    "Answers the rank of a member of a sorted set from the end.",
		Complexity: "O(R) for R members between it and the nearer end.",
		Check:      func(argv [][]byte) *resp.Value { return checkRank(argv) },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.rankOf(argv, true) },
}

func checkRank(argv [][]byte) *resp.Value {
	switch {
	case len(argv) > 4:
		return command.WrongArity(strings.ToLower(string(argv[0])))
	case len(argv) == 4 && !command.IsWord(argv[3], "WITHSCORE"):
		return &command.ErrSyntax
	}
	return nil
}

func (tx *Tx) rankOf(argv [][]byte, reverse bool) (resp.Value, error) {
	if refusal := checkRank(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	score, ok, err := tx.score(h, argv[2])
	if err != nil || !ok {
		if len(argv) == 4 {
			return resp.NullArray(), err
		}
		return resp.Null(), err
	}
	rank, refusal, err := tx.rank(h, score, argv[2])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if reverse {
		rank = int64(h.Length) - 1 - rank
	}
	if len(argv) == 4 {
		return resp.Array(resp.Int(rank), resp.Double(score)), nil
	}
	return resp.Int(rank), nil
}

// rank returns how many members of h come before one that is there. Which end is nearer is
// not known, so it walks to both in turn, in stretches that double.
func (tx *Tx) rank(h *Head, score float64, member []byte) (rank int64, refusal *resp.Value, err error) {
	before := scoreRange{hi: appendScored(nil, score, member)}
	behind := scoreRange{lo: append(appendScored(nil, score, member), 0)}
	for stretch := int64(1024); ; stretch *= 2 {
		n, done, refusal, err := tx.countUpTo(h, before, stretch)
		if done || refusal != nil || err != nil {
			return n, refusal, err
		}
		n, done, refusal, err = tx.countUpTo(h, behind, stretch)
		if done || refusal != nil || err != nil {
			return int64(h.Length) - 1 - n, refusal, err
		}
	}
}

// countUpTo counts the members of h in a range; done is false if they are more than most.
func (tx *Tx) countUpTo(h *Head, r scoreRange, most int64) (n int64, done bool, refusal *resp.Value, err error) {
	done = true
	refusal, err = tx.eachMember(h, r, false, func(float64, []byte) (bool, error) {
		n++
		done = n <= most
		return done, nil
	})
	return n, done, refusal, err
}
