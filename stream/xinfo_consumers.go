package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO CONSUMERS key group: answers a map for each consumer of the group, in the order of
// their names.
var xinfoConsumers = Command{
	Command: command.Command{
		Name: "xinfo|consumers", Arity: 4, Flags: command.ReadOnly,
		Tips:  []string{"nondeterministic_output"},
		Usage: "key groupname",
		History: []string{
			"7.2.0 `inactive` is new, and `idle` counts from the last attempt to read.",
		},
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Describes each consumer of a group.",
		Complexity: "O(N) for N consumers.",
	},
	Run: runXInfoConsumers,
}

func runXInfoConsumers(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[2], argv[3])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	case g == nil:
		return *noGroupForKey(argv[2], argv[3]), nil
	}
	members, err := tx.listConsumers(h, g)
	if err != nil {
		return resp.Value{}, err
	}
	rows := make([]resp.Value, len(members))
	for i, c := range members {
		inactive := int64(-1)
		if c.activeMS >= 0 {
			inactive = max(tx.NowMS-c.activeMS, 0)
		}
		rows[i] = resp.Map(
			resp.BulkString("name"), resp.Bulk(c.name),
			resp.BulkString("pending"), resp.Int(int64(c.pending)),
			resp.BulkString("idle"), resp.Int(max(tx.NowMS-c.seenMS, 0)),
			resp.BulkString("inactive"), resp.Int(inactive),
		)
	}
	return resp.Array(rows...), nil
}
