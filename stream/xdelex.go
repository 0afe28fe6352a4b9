package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id …]: deletes entries, with regard
// to the groups. It answers a number for each ID:
//
//	-1  there is no such entry
//	1   the entry was deleted
//	2   the entry stays, because a group has not read and acknowledged it
var xdelex = Command{
	Command: command.Command{
		Name: "xdelex", Arity: -5, Flags: command.Write | command.Fast,
		Usage:      "key condition:[KEEPREF|DELREF|ACKED] IDS ids:(numids:int id...)",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "8.2.0", Group: "stream",
		Summary:    "Removes entries from a stream, and says what happens to groups that still need them.",
		Complexity: "O(K) for K IDs; with DELREF or ACKED, O(K*G) for G groups.",
	},
	Run: runXDelEx, // without a Check, because Redis looks at the key before the options
}

// The answers of XDELEX and XACKDEL for one ID.
const (
	idMissing = -1
	idDeleted = 1
	idKept    = 2
)

// parseIDList reads the options of XDELEX and XACKDEL from argv[i] on: a policy and IDS, in
// any order. It does not parse the IDs, because Redis does not look at them when the key is
// missing.
func parseIDList(argv [][]byte, i int) (refs refPolicy, ids [][]byte, refusal *resp.Value) {
	given := false
	for ; i < len(argv); i++ {
		if p, ok := parseRefPolicy(argv[i]); ok {
			if given {
				return 0, nil, &command.ErrSyntax
			}
			refs, given = p, true
			continue
		}
		if !command.IsWord(argv[i], "IDS") || i+1 >= len(argv) {
			return 0, nil, &command.ErrSyntax
		}
		n, ok := command.ParseInt(argv[i+1])
		if !ok || n < 1 {
			return 0, nil, &errNumIDs
		}
		if n > int64(len(argv)-i-2) {
			return 0, nil, &errNumIDsCount
		}
		ids = argv[i+2 : i+2+int(n)]
		i += 1 + int(n)
	}
	if ids == nil {
		return 0, nil, &errIDsRequired
	}
	return refs, ids, nil
}

func runXDelEx(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	refs, words, refusal := parseIDList(argv, 2)
	if refusal != nil {
		return *refusal, nil
	}
	out := make([]resp.Value, len(words))
	if h == nil {
		for i := range out {
			out[i] = resp.Int(idMissing)
		}
		return resp.Array(out...), nil
	}
	ids, refusal := parseIDs(words)
	if refusal != nil {
		return *refusal, nil
	}
	f := tx.finder(h, len(ids))
	last := int64(idMissing) // of the ID before
	err = eachRising(ids, func(i int, again bool) error {
		if again && last == idDeleted {
			last = idMissing
		} else if !again {
			if last, err = f.deleteWithRefs(ids[i], refs); err != nil {
				return err
			}
		}
		out[i] = resp.Int(last)
		return nil
	})
	return resp.Array(out...), f.close(err)
}

// deleteWithRefs deletes the entry id under the policy refs, and returns idMissing, idDeleted
// or idKept. As in Redis, the policies also apply to an ID without an entry: ACKED answers
// idKept when a group still needs it, and DELREF drops it from the pending entries.
func (f *finder) deleteWithRefs(id ID, refs refPolicy) (int64, error) {
	switch refs {
	case ackedRef:
		if held, err := f.referenced(id, nil); err != nil || held {
			return idKept, err
		}
	case delRef:
		if err := f.dropReferences(id, nil); err != nil {
			return 0, err
		}
	}
	ok, err := f.deleteEntry(id, true)
	if ok {
		return idDeleted, err
	}
	return idMissing, err
}
