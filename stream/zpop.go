package stream

import (
	"bytes"

	"millrace/command"
	"millrace/resp"
)

// ZPOPMIN key [count]: removes the member with the least score from the sorted set at key, or so
// many, and answers them with their scores.
var zpopmin = Command{
	Command: command.Command{
		Name: "zpopmin", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key [count:int]",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access delete"},
		Categories: []string{"write", "sortedset", "fast"},
		Since:      "5.0.0", Group: "sorted-set",
		Summary:    "Removes and answers the members of a sorted set with the least scores.",
		Complexity: "O(M log N) for M members of N.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parsePop(argv)
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.pop(argv, false) },
}

// ZPOPMAX key [count]: as ZPOPMIN, of the greatest scores.
var zpopmax = Command{
	Command: command.Command{
		Name: "zpopmax", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key [count:int]",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access delete"},
		Categories: []string{"write", "sortedset", "fast"},
		Since:      "5.0.0", Group: "sorted-set",
		Summary:    "Removes and answers the members of a sorted set with the greatest scores.",
		Complexity: "O(M log N) for M members of N.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parsePop(argv)
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.pop(argv, true) },
}

var errPopCount = resp.Err("ERR value is out of range, must be positive")

// parsePop returns how many members are popped; -1: one, as no count is given.
func parsePop(argv [][]byte) (count int64, refusal *resp.Value) {
	switch {
	case len(argv) == 2:
		return -1, nil
	case len(argv) > 3:
		return 0, &command.ErrSyntax
	}
	count, ok := command.ParseInt(argv[2])
	if !ok || count < 0 {
		return 0, &errPopCount
	}
	return count, nil
}

func (tx *Tx) pop(argv [][]byte, greatest bool) (resp.Value, error) {
	count, refusal := parsePop(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil || count == 0:
		return resp.Array(), nil
	}
	t := taken{left: max(count, 1), keyBytes: len(h.prefix)}
	refusal, err = tx.eachMember(h, scoreRange{}, greatest, t.add)
	if err == nil && refusal == nil {
		refusal, err = tx.dropTaken(h, &t)
	}
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	out := make([]resp.Value, 0, 2*len(t.members))
	for _, m := range t.members {
		out = append(out, resp.Bulk(m.name), resp.Double(m.score))
	}
	if count < 0 {
		return resp.Array(out...), nil
	}
	return resp.Tuples(out...), nil
}

// taken are members that a command removes. They are collected first: if they are too many,
// the command is refused and has changed nothing.
type taken struct {
	members []takenMember
	left    int64 // how many more may be taken
	// keyBytes is the length of their keys without their names, bytes that of all of them.
	keyBytes, bytes int
}

type takenMember struct {
	name  []byte
	score float64
}

// add takes a member, and reports whether there may be more. eachMember counts them.
func (t *taken) add(score float64, member []byte) (bool, error) {
	t.members = append(t.members, takenMember{bytes.Clone(member), score})
	t.bytes += t.keyBytes + len(member)
	t.left--
	return t.left != 0 && t.bytes <= maxStepBytes, nil
}

// dropTaken removes the members that t has taken from h.
func (tx *Tx) dropTaken(h *Head, t *taken) (*resp.Value, error) {
	if t.bytes > maxStepBytes {
		return &errWalkInRecord, nil
	}
	if len(t.members) == 0 {
		return nil, nil
	}
	for _, m := range t.members {
		if err := tx.dropMember(h, m.name, m.score); err != nil {
			return nil, err
		}
	}
	return nil, tx.removed(h)
}
