package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XIDMPRECORD key pid iid id: records the idempotent ID of an existing entry, as if XADD had
// added the entry with it.
var xidmprecord = Command{
	Command: command.Command{
		Name: "xidmprecord", Arity: 5, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key pid iid stream-id",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "8.6.2", Group: "stream",
		Summary:    "Ties an idempotent ID to an entry that exists.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseRecord(argv)
			return refusal
		},
	},
	Run: runXIDMPRecord,
}

// Refusals of XIDMPRECORD.
var (
	errRecordNoPID  = resp.Err("ERR producer ID must be non-empty")
	errRecordNoIID  = resp.Err("ERR idempotent ID must be non-empty")
	errRecordNone   = resp.Err("ERR No such message in stream")
	errRecordExists = resp.Err("ERR IID already exists for this producer with a different stream ID")
)

func parseRecord(argv [][]byte) (ID, *resp.Value) {
	id, ok := parseID(argv[4], 0)
	switch {
	case !ok:
		return ID{}, &errInvalidID
	case len(argv[2]) == 0:
		return ID{}, &errRecordNoPID
	case len(argv[3]) == 0:
		return ID{}, &errRecordNoIID
	case len(argv[2]) > maxIDMPText || len(argv[3]) > maxIDMPText:
		return ID{}, &errIDMPTooLong
	}
	return id, nil
}

func runXIDMPRecord(tx *Tx, argv [][]byte) (resp.Value, error) {
	id, refusal := parseRecord(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	}
	if _, ok, err := tx.getEntry(h, id); err != nil || !ok {
		return errRecordNone, err
	}
	known, ok, err := tx.findIID(h, argv[2], argv[3])
	switch {
	case err != nil:
		return resp.Value{}, err
	case ok && known.id == id:
		return resp.OK, nil
	case ok:
		return errRecordExists, nil
	}
	return resp.OK, tx.rememberIID(h, argv[2], argv[3], id)
}
