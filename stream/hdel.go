package stream

import (
	"fmt"

	"millrace/command"
	"millrace/resp"
)

// HDEL key field [field …]: removes fields from the hash at key, and answers how many there were. A
// hash without fields is no more.
var hdel = Command{
	Command: command.Command{
		Name: "hdel", Arity: -3, Flags: command.Write | command.Fast,
		Usage:      "key field...",
		History:    []string{"2.4.0 Accepts multiple `field` arguments."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "hash", "fast"},
		Since:      "2.0.0", Group: "hash",
		Summary:    "Removes fields from a hash.",
		Complexity: "O(N) for N fields.",
		Check:      checkNames,
	},
	Run: runHDel,
}

func runHDel(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkNames(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeHash)
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
	removed := int64(0)
	for _, field := range argv[2:] {
		_, ok, err := tx.fieldValue(h, field)
		if err != nil {
			return resp.Value{}, err
		}
		if !ok {
			continue
		}
		if err := tx.deleteElement(h, field); err != nil {
			return resp.Value{}, fmt.Errorf("delete the field %q of %q: %w", field, h.Name, err)
		}
		removed++
		h.Length--
	}
	if removed > 0 {
		tx.modified(h)
	}
	if h.Length == 0 {
		err = tx.remove(h)
	}
	return resp.Int(removed), err
}
