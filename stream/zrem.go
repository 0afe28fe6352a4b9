package stream

import (
	"millrace/command"
	"millrace/resp"
)

// ZREM key member [member …]: removes members from the sorted set at key, and answers how many
// there were. A sorted set without members is no more.
var zrem = Command{
	Command: command.Command{
		Name: "zrem", Arity: -3, Flags: command.Write | command.Fast,
		Usage:      "key member...",
		History:    []string{"2.4.0 Takes any number of members."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "sortedset", "fast"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Takes members out, and answers how many were there.",
		Complexity: "O(M log N) for M members of N.",
		Check:      checkNames,
	},
	Run: runZRem,
}

func runZRem(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkNames(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	if refusal, err := tx.lookAhead(h, argv[2:], 1); err != nil || refusal != nil {
		return refused(refusal, err)
	}
	defer tx.endLookahead()
	n := int64(0)
	for _, member := range argv[2:] {
		score, ok, err := tx.score(h, member)
		if err == nil && ok {
			n++
			err = tx.dropMember(h, member, score)
		}
		if err != nil {
			return resp.Value{}, err
		}
	}
	if n > 0 {
		err = tx.removed(h)
	}
	return resp.Int(n), err
}
