package stream

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// HSET key field value [field value …]: sets fields of the hash at key, which is made if there
// is none. It answers how many fields are new.
var hset = Command{
	Command: command.Command{
		Name: "hset", Arity: -4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key field_value:(field value)...",
		History:    []string{"4.0.0 Takes any number of fields with their values."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Sets fields of a hash, which is made if there is none.",
		Complexity: "O(N) for N fields.",
		Check:      checkHSet,
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		n, refusal, err := tx.hset(argv)
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.Int(n), nil
	},
}

// HMSET key field value [field value …]: HSET, and answers OK.
var hmset = Command{
	Command: command.Command{
		Name: "hmset", Arity: -4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key field_value:(field value)...",
		Deprecated: "4.0.0 `HSET` with multiple field-value pairs",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Sets fields of a hash and answers OK.",
		Complexity: "O(N) for N fields.",
		Check:      checkHSet,
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		_, refusal, err := tx.hset(argv)
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.OK, nil
	},
}

func checkHSet(argv [][]byte) *resp.Value {
	if len(argv)%2 != 0 {
		return command.WrongArity(strings.ToLower(string(argv[0])))
	}
	return checkFields(argv)
}

// hset runs HSET and HMSET, and returns how many fields are new.
func (tx *Tx) hset(argv [][]byte) (added int64, refusal *resp.Value, err error) {
	if refusal := checkHSet(argv); refusal != nil {
		return 0, refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeHash)
	if err == nil && refusal == nil {
		refusal, err = tx.lookAhead(h, argv[2:], 2)
	}
	if err != nil || refusal != nil {
		return 0, refusal, err
	}
	defer tx.endLookahead()
	if h, _, err = tx.hashToChange(argv[1]); err != nil {
		return 0, nil, err
	}
	if len(argv)-2 > 2*compactFields { // Redis decides so before it knows which of them are new
		h.Elements.Large = true
	}
	for i := 2; i < len(argv); i += 2 {
		isNew, err := tx.putField(h, argv[i], argv[i+1])
		if err != nil {
			return 0, nil, err
		}
		if isNew {
			added++
		}
	}
	return added, nil, nil
}

// hashToChange returns the hash at name, made if there is none, and counts a modification.
func (tx *Tx) hashToChange(name []byte) (h *Head, refusal *resp.Value, err error) {
	h, refusal, err = tx.collection(name, TypeHash)
	switch {
	case err != nil || refusal != nil:
		return nil, refusal, err
	case h != nil:
		tx.modified(h)
		return h, nil, nil
	}
	h = newElementsHead(name, TypeHash)
	return h, nil, tx.register(h)
}
