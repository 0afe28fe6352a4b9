package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZREMRANGEBYSCORE key min max: removes the members of the sorted set at key with scores from min to
// max, and answers how many there were. All of them go at once, however many they are; otherwise one
// command removes at most maxElements.
var zremrangebyscore = Command{
	Command: command.Command{
		Name: "zremrangebyscore", Arity: 4, Flags: command.Write,
		Usage:      "key min:double max:double",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "sortedset", "slow"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Removes the members of a sorted set in a range of scores.",
		Complexity: "O(M log N) for M members of N; O(1) for all.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseScoreRange(argv[2], argv[3])
			return refusal
		},
	},
	Run: runZRemRangeByScore,
}

// ZREMRANGEBYRANK key start stop: as ZREMRANGEBYSCORE, by ranks.
var zremrangebyrank = Command{
	Command: command.Command{
		Name: "zremrangebyrank", Arity: 4, Flags: command.Write,
		Usage:      "key start:int stop:int",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "sortedset", "slow"},
		Since:      "2.0.0", Group: "sorted-set",
		Summary:    "Removes the members of a sorted set in a range of ranks.",
		Complexity: "O(S + M log N) for M members of N, with S between them and the nearer end; O(1) for all.",
		Check: func(argv [][]byte) *resp.Value {
			_, _, refusal := parseRanks(argv[2], argv[3])
			return refusal
		},
	},
	Run: runZRemRangeByRank,
}

func runZRemRangeByScore(tx *Tx, argv [][]byte) (resp.Value, error) {
	r, refusal := parseScoreRange(argv[2], argv[3])
	if refusal != nil {
		return *refusal, nil
	}
	return tx.removeRange(argv[1], func(h *Head, t *taken) (bool, *resp.Value, error) {
		if r.all(h) {
			return true, nil, nil
		}
		refusal, err := tx.eachMember(h, r, false, t.add)
		return false, refusal, err
	})
}

func runZRemRangeByRank(tx *Tx, argv [][]byte) (resp.Value, error) {
	start, stop, refusal := parseRanks(argv[2], argv[3])
	if refusal != nil {
		return *refusal, nil
	}
	return tx.removeRange(argv[1], func(h *Head, t *taken) (bool, *resp.Value, error) {
		from, to, ok := rankRange(start, stop, h.Length)
		if !ok {
			return false, nil, nil
		}
		if from == 0 && to == int64(h.Length)-1 {
			return true, nil, nil
		}
		_, refusal, err := tx.eachRank(h, from, to, t.add)
		return false, refusal, err
	})
}

// removeRange removes the members that take has put into t, or all, and answers how many
// there were.
func (tx *Tx) removeRange(name []byte, take func(h *Head, t *taken) (all bool, refusal *resp.Value, err error)) (resp.Value, error) {
	h, refusal, err := tx.collection(name, TypeZSet)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	t := taken{left: -1, keyBytes: len(h.prefix)}
	all, refusal, err := take(h, &t)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if all {
		n := h.Length
		tx.modified(h)
		return resp.Int(int64(n)), tx.remove(h)
	}
	refusal, err = tx.dropTaken(h, &t)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Int(int64(len(t.members))), nil
}
