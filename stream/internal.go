package stream

import (
	"millrace/command"
	"millrace/resp"
)

// This file has commands that the router sends to a shard. Their names start with "_". To
// a client they are unknown commands.

// _DBSIZE: the number of names of the shard.
var dbSize = Command{
	Command: command.Command{
		Name: "_dbsize", Arity: 1, Flags: command.ReadOnly | command.Fast | command.Internal, Group: "server",
		Summary: "Returns the number of keys of one shard.",
	},
	Run: func(tx *Tx, _ [][]byte) (resp.Value, error) {
		n, err := tx.keyCount()
		return resp.Int(int64(n)), err
	},
}

// _KEYSPACE: the number of names of the shard, and the number of those with a deadline.
var keyspace = Command{
	Command: command.Command{
		Name: "_keyspace", Arity: 1, Flags: command.ReadOnly | command.Fast | command.Internal, Group: "server",
		Summary: "Returns the numbers of keys and of keys with an expiration time of one shard.",
	},
	Run: func(tx *Tx, _ [][]byte) (resp.Value, error) {
		sys, err := tx.system()
		if err != nil {
			return resp.Value{}, err
		}
		return resp.Array(resp.Int(int64(sys.keys)), resp.Int(int64(sys.expires))), nil
	},
}

// _XLASTID key [key …]: the greatest ID that each stream ever had, 0-0 for a missing
// stream. The router replaces the ID "$" of a blocking XREAD by it, so that the meaning of
// "$" does not change while the call waits.
var lastID = Command{
	Command: command.Command{
		Name: "_xlastid", Arity: -2, Flags: command.ReadOnly | command.Fast | command.Internal, Group: "stream",
		Keys:    command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Summary: "Returns the last-generated-id of streams.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		out := make([]resp.Value, len(argv)-1)
		for i, name := range argv[1:] {
			h, refusal, err := tx.stream(name)
			if err != nil || refusal != nil {
				return refused(refusal, err)
			}
			var last ID
			if h != nil {
				last = h.Last
			}
			out[i] = idValue(last)
		}
		return resp.Array(out...), nil
	},
}
