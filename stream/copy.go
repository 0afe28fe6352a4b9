package stream

import (
	"bytes"
	"fmt"

	"millrace/command"
	"millrace/resp"
)

// COPY source destination [DB 0] [REPLACE]: makes destination hold what source holds,
// with its time to live, groups, pending entries and idempotent producers.
var copyCmd = Command{
	Command: command.Command{
		Name: "copy", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage:      "source:key destination:key [DB destination-db:int] [REPLACE]",
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RO access; OW update"},
		Categories: []string{"keyspace", "write", "slow"},
		Since:      "6.2.0", Group: "generic",
		Summary:    "Copies the value of a key to a new key.",
		Complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseCopy(argv)
			return refusal
		},
	},
	Run: runCopy,
}

// What COPY and RENAME move in one step: they write every record of a name under
// another one, and a record of the log has to be applied at once.
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

// databases is how many databases there would be if there were more than one: Redis
// tells an index beyond them from one that its cluster mode has no use for.
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

// copyTo makes name, which is another one than h's and of the same slot, hold what h
// holds, in place of old; nil: it holds nothing. It refuses what is too large, and then
// has changed nothing.
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
	made.ExpireAtMS = 0 // until setDeadline
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
	tx.touch(made.Name)
	return nil, nil
}
