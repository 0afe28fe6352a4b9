package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO GROUPS key: answers a map for each group of the stream, in the order of their names.
var xinfoGroups = Command{
	Command: command.Command{
		Name: "xinfo|groups", Arity: 3, Flags: command.ReadOnly,
		Usage: "key",
		History: []string{
			"7.0.0 Two fields are new, `entries-read` and `lag`.",
		},
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary:    "Describes each group of a stream.",
		Complexity: "O(N) for N groups.",
	},
	Run: runXInfoGroups,
}

func runXInfoGroups(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[2])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	}
	groups, err := tx.listGroups(h)
	if err != nil {
		return resp.Value{}, err
	}
	rows := make([]resp.Value, len(groups))
	for i, g := range groups {
		read, lag := g.progress(h)
		rows[i] = resp.Map(
			resp.BulkString("name"), resp.Bulk(g.name),
			resp.BulkString("consumers"), resp.Int(int64(g.consumers)),
			resp.BulkString("pending"), resp.Int(int64(g.pending)),
			resp.BulkString("last-delivered-id"), idValue(g.delivered),
			resp.BulkString("entries-read"), read,
			resp.BulkString("lag"), lag,
		)
	}
	return resp.Array(rows...), nil
}

// progress returns entries-read and lag as XINFO answers them; either is null when it is not
// known.
func (g *group) progress(h *Head) (read, lag resp.Value) {
	if g.entriesRead != unknownRead {
		read = resp.Int(g.entriesRead)
	}
	if n, ok := g.lag(h); ok {
		lag = resp.Int(n)
	}
	return read, lag
}

// fullGroups returns the groups of h as XINFO STREAM FULL answers them, with up to count
// pending entries of each group and of each consumer. A zero count means all of them.
func (tx *Tx) fullGroups(h *Head, count int64) (resp.Value, error) {
	groups, err := tx.listGroups(h)
	if err != nil {
		return resp.Value{}, err
	}
	rows := make([]resp.Value, len(groups))
	for i, g := range groups {
		if rows[i], err = tx.fullGroup(h, g, count); err != nil {
			return resp.Value{}, err
		}
	}
	return resp.Array(rows...), nil
}

// fullGroup returns one group for fullGroups.
func (tx *Tx) fullGroup(h *Head, g *group, count int64) (resp.Value, error) {
	pending, err := upTo(count, func(visit func(ID, pendingEntry) (bool, error)) error {
		return tx.eachPending(h, g, ID{}, MaxID, visit)
	}, func(id ID, p pendingEntry) (resp.Value, error) {
		name, err := tx.ownerName(h, g, p)
		return resp.Array(idValue(id), resp.Bulk(name), resp.Int(p.deliveredMS()), resp.Int(int64(p.deliveries))), err
	})
	if err != nil {
		return resp.Value{}, err
	}
	members, err := tx.listConsumers(h, g)
	if err != nil {
		return resp.Value{}, err
	}
	consumers := make([]resp.Value, len(members))
	for i, c := range members {
		owned, err := upTo(count, func(visit func(ID, pendingEntry) (bool, error)) error {
			return tx.eachOwned(h, g, c, ID{}, MaxID, visit)
		}, func(id ID, p pendingEntry) (resp.Value, error) {
			return resp.Array(idValue(id), resp.Int(p.deliveredMS()), resp.Int(int64(p.deliveries))), nil
		})
		if err != nil {
			return resp.Value{}, err
		}
		consumers[i] = resp.Map(
			resp.BulkString("name"), resp.Bulk(c.name),
			resp.BulkString("seen-time"), resp.Int(c.seenMS),
			resp.BulkString("active-time"), resp.Int(c.activeMS),
			resp.BulkString("pel-count"), resp.Int(int64(c.pending)),
			resp.BulkString("pending"), owned,
		)
	}
	read, lag := g.progress(h)
	return resp.Map(
		resp.BulkString("name"), resp.Bulk(g.name),
		resp.BulkString("last-delivered-id"), idValue(g.delivered),
		resp.BulkString("entries-read"), read,
		resp.BulkString("lag"), lag,
		resp.BulkString("pel-count"), resp.Int(int64(g.pending)),
		resp.BulkString("pending"), pending,
		resp.BulkString("consumers"), resp.Array(consumers...),
	), nil
}

// upTo returns an array with the results of show for the first count pending entries that
// walk visits. A zero count means all of them.
func upTo(
	count int64,
	walk func(visit func(ID, pendingEntry) (bool, error)) error,
	show func(ID, pendingEntry) (resp.Value, error),
) (resp.Value, error) {
	var rows []resp.Value
	err := walk(func(id ID, p pendingEntry) (bool, error) {
		row, err := show(id, p)
		rows = append(rows, row)
		return int64(len(rows)) != count, err
	})
	return resp.Array(rows...), err
}
