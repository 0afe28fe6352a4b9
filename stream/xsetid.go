package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XSETID key last-id [ENTRIESADDED n] [MAXDELETEDID id]: sets the greatest ID of a stream, the
// number of entries ever added, and the greatest deleted ID.
var xsetid = Command{
	Command: command.Command{
		Name: "xsetid", Arity: -3, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage: "key last-id [ENTRIESADDED entries_added:int] [MAXDELETEDID max_deleted_entry_id]",
		History: []string{
			"7.0.0 `ENTRIESADDED` and `MAXDELETEDID` are new.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Sets the ID after which a stream goes on, and its memory of entries that are gone.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseSetID(argv)
			return refusal
		},
	},
	Run: runXSetID,
}

// Refusals of XSETID.
var (
	errSetIDAdded   = resp.Err("ERR entries_added must be positive")
	errSetIDGiven   = resp.Err("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
	errSetIDDeleted = resp.Err("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
	errSetIDSmall   = resp.Err("ERR The ID specified in XSETID is smaller than the target stream top item")
	errSetIDLength  = resp.Err("ERR The entries_added specified in XSETID is smaller than the target stream length")
)

// setIDArgs holds the arguments of XSETID.
type setIDArgs struct {
	last, maxDeleted ID
	added            int64 // -1 when it is not given
}

func parseSetID(argv [][]byte) (a setIDArgs, refusal *resp.Value) {
	a.added = -1
	var ok bool
	if a.last, ok = parseID(argv[2], 0); !ok {
		return a, &errInvalidID
	}
	for i := 3; i < len(argv); i += 2 {
		switch {
		case command.IsWord(argv[i], "ENTRIESADDED") && i+1 < len(argv):
			n, ok := command.ParseInt(argv[i+1])
			if !ok {
				return a, &command.ErrNotInteger
			}
			if n < 0 {
				return a, &errSetIDAdded
			}
			a.added = n
		case command.IsWord(argv[i], "MAXDELETEDID") && i+1 < len(argv):
			if a.maxDeleted, ok = parseID(argv[i+1], 0); !ok {
				return a, &errInvalidID
			}
			if a.last.Less(a.maxDeleted) {
				return a, &errSetIDGiven
			}
		default:
			return a, &command.ErrSyntax
		}
	}
	return a, nil
}

func runXSetID(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseSetID(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	case a.last.Less(h.MaxDeleted):
		return errSetIDDeleted, nil
	case h.Length > 0 && a.last.Less(h.LastEntry):
		return errSetIDSmall, nil
	case h.Length > 0 && a.added >= 0 && h.Length > uint64(a.added):
		return errSetIDLength, nil
	}
	h.Last = a.last
	if a.added >= 0 {
		h.Added = uint64(a.added)
	}
	if !a.maxDeleted.IsZero() {
		h.MaxDeleted = a.maxDeleted
	}
	tx.dirty(h)
	return resp.OK, nil
}
