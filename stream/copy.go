package stream

import (
	"bytes"
	"fmt"

	"millrace/command"
	"millrace/resp"
)

// COPY source destination [DB 0] [REPLACE]: copies a value to another name, with its time
// to live, groups, pending entries and idempotent producers.
var copyCmd = Command{
	Command: command.Command{
		Name: "copy", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage:      "source:key destination:key [DB destination-db:int] [REPLACE]",
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RO access; OW update"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "6.2.0", Group: "generic",
		Summary:    "Gives a second key a copy of a value, with its time to live and its groups.",
		Complexity: "O(N) for a value of N records; a string has two.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseCopy(argv)
			return refusal
		},
	},
	Run: runCopy,
}

// The bounds of one COPY or RENAME. It writes every record of a name under another name,
// and nothing else runs in the shard until it is finished.
const (
	copyMaxRecords = 100_000
	copyMaxBytes   = 16 << 20
)

// Refusals of COPY and RENAME.
var (
	errSameObject = resp.Err("ERR source and destination objects are the same")
	errDBIndex    = resp.Err("ERR DB index is out of range")
	errOtherDB    = resp.Err("ERR Copying to another database is not allowed in cluster mode")
	errCopyLarge  = resp.Err(fmt.Sprintf("ERR The value is too large to be copied in one step: it has more than %d records or %d bytes", copyMaxRecords, copyMaxBytes))
)

// databases is the number of databases of a Redis outside cluster mode. Redis refuses an
// index from 16 on with another text than one from 1 to 15.
const databases = 16

func parseCopy(argv [][]byte) (replace bool, refusal *resp.Value) {
	db := int64(0)
	for i := 3; i < len(argv); i++ {
		switch {
		case command.IsWord(argv[i], "REPLACE"):
			replace = true
		case command.IsWord(argv[i], "DB") && i+1 < len(argv):
			i++
			var ok bool
			if db, ok = command.ParseInt(argv[i]); !ok {
				return false, &command.ErrNotInteger
			}
			if db < 0 || db >= databases {
				return false, &errDBIndex
			}
		default:
			return false, &command.ErrSyntax
		}
	}
	switch {
	case db != 0:
		return false, &errOtherDB
	case bytes.Equal(argv[1], argv[2]):
		return false, &errSameObject
	}
	return replace, nil
}

func runCopy(tx *Tx, argv [][]byte) (resp.Value, error) {
	replace, refusal := parseCopy(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, err := tx.head(argv[1])
	if err != nil || h == nil {
		return resp.Int(0), err
	}
	old, err := tx.head(argv[2])
	if err != nil || old != nil && !replace {
		return resp.Int(0), err
	}
	refusal, err = tx.copyTo(h, argv[2], old)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Int(1), nil
}

// copyTo copies the value of h to name, another name of the same slot. old is the current
// head of name, which is removed, or nil. copyTo refuses a value that is too large before it
// changes anything.
func (tx *Tx) copyTo(h *Head, name []byte, old *Head) (refusal *resp.Value, err error) {
	if h.keyCount() > copyMaxRecords {
		return &errCopyLarge, nil
	}
	if err := tx.writeOut(h); err != nil {
		return nil, err
	}
	records, size := 0, 0
	err = tx.eachRecord(h, func(key, value []byte) (bool, error) {
		records++
		size += len(key) + len(value)
		return records <= copyMaxRecords && size <= copyMaxBytes, nil
	})
	switch {
	case err != nil:
		return nil, err
	case records > copyMaxRecords || size > copyMaxBytes:
		return &errCopyLarge, nil
	}
	if old != nil {
		if err := tx.remove(old); err != nil {
			return nil, err
		}
	}
	made, err := decodeHead(name, h.append(nil))
	if err != nil {
		return nil, err
	}
	made.ExpireAtMS = 0 // because setDeadline, below, adds only a new deadline
	if err := tx.register(made); err != nil {
		return nil, err
	}
	if err := tx.setDeadline(made, h.ExpireAtMS); err != nil {
		return nil, err
	}
	var to []byte
	err = tx.eachRecord(h, func(key, value []byte) (bool, error) {
		to = append(append(to[:0], made.prefix...), key[len(h.prefix):]...)
		return true, tx.batch.Set(to, value)
	})
	if err != nil {
		return nil, fmt.Errorf("copy %q to %q: %w", h.Name, name, err)
	}
	groups, err := tx.listGroups(h)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if len(g.leftovers) > 0 {
			if err := tx.queueCleanup(made.Name, g.name); err != nil {
				return nil, err
			}
		}
	}
	tx.touch(made.Name)
	return nil, nil
}
