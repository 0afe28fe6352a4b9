package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XGROUP SETID key group <id | $> [ENTRIESREAD n]: makes the group continue after id. As in
// Redis it wakes no blocked call, even if there are entries after id; the next XADD does.
var xgroupSetID = Command{
	Command: command.Command{
		Name: "xgroup|setid", Arity: -5, Flags: command.Write, Keys: command.Keys{First: 2, Last: 2, Step: 1, Access: "RW update"},
		Usage: "key groupname id:(id|new_id=$) [ENTRIESREAD entries_read:int]",
		History: []string{
			"7.0.0 `ENTRIESREAD` is new.",
		},
		Categories: []string{"write", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Lets a group go on reading after another ID.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseXGroupOptions(argv, false)
			return refusal
		},
	},
	Run: runXGroupSetID,
}

// xgroupSetIDMax is the greatest number of words of XGROUP SETID. Redis counts them after it
// has looked for the group, so Check does not.
const xgroupSetIDMax = 7

func runXGroupSetID(tx *Tx, argv [][]byte) (resp.Value, error) {
	o, refusal := parseXGroupOptions(argv, false)
	if refusal != nil {
		return *refusal, nil
	}
	h, g, refusal, err := tx.xgroupTarget(argv)
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return *noGroupForKey(argv[2], argv[3]), nil
	case len(argv) > xgroupSetIDMax:
		return *badSubcommand(argv), nil
	}
	delivered := h.Last
	if string(argv[4]) != "$" {
		id, ok := parseRangeID(argv[4], 0)
		if !ok {
			return errInvalidID, nil
		}
		delivered = id
	}
	g.delivered = delivered
	g.entriesRead = h.readAtMost(o.entriesRead)
	tx.changedGroup(h, g)
	return resp.OK, nil
}
