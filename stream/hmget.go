package stream

import (
	"millrace/command"
	"millrace/resp"
)

// HMGET key field [field …]: the values of fields of the hash at key, null for those that are not
// there.
var hmget = Command{
	Command: command.Command{
		Name: "hmget", Arity: -3, Flags: command.ReadOnly | command.Fast,
		Usage:      "key field...",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Answers the values of several fields of a hash.",
		Complexity: "O(N) for N fields.",
		Check:      checkNames,
	},
	Run: runHMGet,
}

func runHMGet(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkNames(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if refusal, err := tx.lookAhead(h, argv[2:], 1); err != nil || refusal != nil {
		return refused(refusal, err)
	}
	defer tx.endLookahead()
	r := tx.elementReply()
	for _, field := range argv[2:] {
		value, ok, err := tx.fieldValue(h, field)
		if err != nil {
			return resp.Value{}, err
		}
		v := resp.Null()
		if ok {
			v = resp.Bulk(value)
		}
		if !r.add(v) {
			return refused(tx.tooLarge(&errReplyTooLarge))
		}
	}
	return resp.Array(r.out...), nil
}
