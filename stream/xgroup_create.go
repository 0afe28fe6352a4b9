package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD n]: creates a group that reads the
// entries after id. "$" is the greatest ID of the stream.
var xgroupCreate = Command{
	Command: command.Command{
		Name: "xgroup|create", Arity: -5, Flags: command.Write | command.DenyOOM, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW insert"},
		Usage: "key groupname id:(id|new_id=$) [MKSTREAM] [ENTRIESREAD entries_read:int]",
		History: []string{
			"7.0.0 `ENTRIESREAD` is new.",
		},
		Categories: []string{"write", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Adds a group, which reads the entries after an ID.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseXGroupOptions(argv, true)
			return refusal
		},
	},
	Run: runXGroupCreate,
}

// xgroupCreateMax is the greatest number of words of XGROUP CREATE. Redis counts them after it
// has looked at the stream, so Check does not.
const xgroupCreateMax = 8

func runXGroupCreate(tx *Tx, argv [][]byte) (resp.Value, error) {
	o, refusal := parseXGroupOptions(argv, true)
	if refusal != nil {
		return *refusal, nil
	}
	h, g, refusal, err := tx.streamGroup(argv[2], argv[3])
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case h == nil && !o.mkStream:
		return errXGroupNoKey, nil
	case len(argv) > xgroupCreateMax:
		return *badSubcommand(argv), nil
	}
	var delivered ID
	if isLast := string(argv[4]) == "$"; isLast && h != nil {
		delivered = h.Last
	} else if !isLast {
		id, ok := parseID(argv[4], 0)
		if !ok {
			return errInvalidID, nil
		}
		delivered = id
	}
	if h == nil {
		if h, err = tx.createStream(argv[2]); err != nil {
			return resp.Value{}, err
		}
	}
	if g != nil {
		return errBusyGroup, nil
	}
	tx.createGroup(h, argv[3], delivered, h.readAtMost(o.entriesRead))
	return resp.OK, nil
}
