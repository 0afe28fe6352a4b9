package stream

import (
	"millrace/command"
	"millrace/resp"
)

// GETRANGE key start end: answers the bytes of a string from start to end, both included. A
// negative place counts from the end of the string: -1 is the last byte.
var getrange = Command{
	Command: command.Command{
		Name: "getrange", Arity: 4, Flags: command.ReadOnly,
		Usage:      "key start:int end:int",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "string", "slow"},
		Since:      "2.4.0", Group: "string",
		Summary:    "Reads a part of a string, by the places of its first and its last byte.",
		Complexity: "O(N) for a string of N bytes, which is read as a whole.",
		Check:      checkGetRange,
	},
	Run: runGetRange,
}

// SUBSTR key start end: the old name of GETRANGE.
var substr = Command{
	Command: command.Command{
		Name: "substr", Arity: 4, Flags: command.ReadOnly,
		Usage:      "key start:int end:int",
		Deprecated: "2.0.0 `GETRANGE`",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "string", "slow"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Reads a part of a string; an old name of GETRANGE.",
		Complexity: "O(N) for a string of N bytes, which is read as a whole.",
		Check:      checkGetRange,
	},
	Run: runGetRange,
}

func checkGetRange(argv [][]byte) *resp.Value {
	for _, w := range argv[2:] {
		if _, ok := command.ParseInt(w); !ok {
			return &command.ErrNotInteger
		}
	}
	return nil
}

func runGetRange(tx *Tx, argv [][]byte) (resp.Value, error) {
	if refusal := checkGetRange(argv); refusal != nil {
		return *refusal, nil
	}
	from, _ := command.ParseInt(argv[2])
	to, _ := command.ParseInt(argv[3])
	v, _, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Bulk(cutRange(v.Str, from, to)), nil
}

// cutRange returns b[from:to+1] by the rules of GETRANGE: places below zero count from the
// end, and a place outside of b is the nearest one inside.
func cutRange(b []byte, from, to int64) []byte {
	n := int64(len(b))
	if from < 0 && to < 0 && from > to {
		return []byte{}
	}
	place := func(i int64) int64 {
		if i < 0 {
			i += n
		}
		return max(i, 0)
	}
	from, to = place(from), min(place(to), n-1)
	if from > to {
		return []byte{}
	}
	return b[from : to+1]
}
