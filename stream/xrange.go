package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XRANGE key start end [COUNT count]: answers the entries from start to end.
var xrange = Command{
	Command: command.Command{
		Name: "xrange", Arity: -4, Flags: command.ReadOnly,
		Usage: "key start end [COUNT count:int]",
		History: []string{
			"6.2.0 A `(` before an ID leaves that ID out.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Lists entries of a stream between two IDs, oldest first.",
		Complexity: "O(N) for N entries in the answer.",
		Check:      func(argv [][]byte) *resp.Value { return checkRange(argv, false) },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return runRange(tx, argv, false) },
}

// XREVRANGE key end start [COUNT count]: answers the entries from end down to start.
var xrevrange = Command{
	Command: command.Command{
		Name: "xrevrange", Arity: -4, Flags: command.ReadOnly,
		Usage: "key end start [COUNT count:int]",
		History: []string{
			"6.2.0 A `(` before an ID leaves that ID out.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Lists entries of a stream between two IDs, newest first.",
		Complexity: "O(N) for N entries in the answer.",
		Check:      func(argv [][]byte) *resp.Value { return checkRange(argv, true) },
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return runRange(tx, argv, true) },
}

// rangeArgs holds the arguments of XRANGE and XREVRANGE.
type rangeArgs struct {
	start, end ID
	count      int64 // -1 when there is no COUNT
}

func parseRange(argv [][]byte, reverse bool) (a rangeArgs, refusal *resp.Value) {
	first, last := argv[2], argv[3]
	if reverse {
		first, last = last, first
	}
	if a.start, refusal = parseStart(first); refusal != nil {
		return a, refusal
	}
	if a.end, refusal = parseEnd(last); refusal != nil {
		return a, refusal
	}
	a.count = -1
	for i := 4; i < len(argv); i += 2 {
		if !command.IsWord(argv[i], "COUNT") || i+1 >= len(argv) {
			return a, &command.ErrSyntax
		}
		n, ok := command.ParseInt(argv[i+1])
		if !ok {
			return a, &command.ErrNotInteger
		}
		a.count = max(n, 0)
	}
	return a, nil
}

func checkRange(argv [][]byte, reverse bool) *resp.Value {
	_, refusal := parseRange(argv, reverse)
	return refusal
}

func runRange(tx *Tx, argv [][]byte, reverse bool) (resp.Value, error) {
	a, refusal := parseRange(argv, reverse)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Array(), nil
	case a.count == 0:
		return resp.NullArray(), nil
	}
	entries, refusal, err := tx.readEntries(h, a.start, a.end, a.count, reverse)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Array(entries...), nil
}

// maxRangeBytes bounds the memory of a reply of XRANGE, XREVRANGE or XINFO STREAM FULL. A
// larger reply is refused. XREAD instead ends its reply early, because its caller continues
// after the last entry; the caller of XRANGE takes the reply for complete.
const maxRangeBytes = 128 << 20

// valueBytes is the approximate size of a resp.Value without its bytes.
const valueBytes = 72

var errRangeTooLarge = resp.Err("ERR the reply would take more than 128 MiB of memory; ask for fewer entries with COUNT")

// readEntries returns at most count entries of h from start to end, or all of them when count
// is below one. It returns a refusal when they exceed maxRangeBytes.
func (tx *Tx) readEntries(h *Head, start, end ID, count int64, reverse bool) (out []resp.Value, refusal *resp.Value, err error) {
	if count > 0 {
		out = make([]resp.Value, 0, min(uint64(count), h.Length, 128))
	}
	size, most := 0, tx.room(maxRangeBytes)
	err = tx.eachEntry(h, start, end, reverse, func(id ID, raw []byte) (bool, error) {
		v, err := entryValue(id, raw)
		if err != nil {
			return false, err
		}
		out = append(out, v)
		size += entryMemory(v, raw)
		if size > most {
			out = nil
			refusal, err = tx.tooLarge(&errRangeTooLarge)
			return false, err
		}
		return count < 1 || int64(len(out)) < count, nil
	})
	return out, refusal, err
}

// entryMemory returns the approximate size of the reply for one entry: three values for the
// entry, its ID and its list, one for each field and each value, and their bytes.
func entryMemory(v resp.Value, raw []byte) int {
	return (3+len(v.Elems[1].Elems))*valueBytes + len(raw)
}
