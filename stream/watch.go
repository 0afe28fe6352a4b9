package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// The router runs WATCH, in three steps:
//
//	WATCH a     the router asks the shard: _MODIFIED a     answer 17
//	MULTI …     the router queues the commands
//	EXEC        the router sends one record: _WATCHED a 17, and the queued commands
//
// When a was changed in between, its number is above 17 and _WATCHED answers null, so the
// shard runs none of the other commands. Tx.modified gives the numbers.

// _MODIFIED key [key …]: answers the modification number of each name, or zero for a name
// that does not exist.
var modifiedCmd = Command{
	Command: command.Command{
		Name: "_modified", Arity: -2, Flags: command.ReadOnly | command.Fast | command.Internal, Group: "transactions",
		Keys:    command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Summary: "Answers the modification numbers of keys.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		out := make([]resp.Value, len(argv)-1)
		for i, name := range argv[1:] {
			n, err := tx.modifiedNumber(name)
			if err != nil {
				return resp.Value{}, err
			}
			out[i] = resp.Int(int64(n))
		}
		return resp.Array(out...), nil
	},
}

// _WATCHED key number [key number …]: answers OK when every name still has its number.
// Otherwise it answers null, and the rest of the EXEC is not run. The number of a name that
// was deleted or has expired is zero.
var watched = Command{
	Command: command.Command{
		Name: "_watched", Arity: -3, Flags: command.ReadOnly | command.Fast | command.Internal | command.Guard, Group: "transactions",
		Keys:    command.Keys{First: 1, Last: -1, Step: 2, Access: "RO"},
		Summary: "Decides whether an EXEC is run.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		for i := 1; i+1 < len(argv); i += 2 {
			n, err := tx.modifiedNumber(argv[i])
			if err != nil {
				return resp.Value{}, err
			}
			if strconv.FormatUint(n, 10) != string(argv[i+1]) {
				return resp.Null(), nil
			}
		}
		return resp.OK, nil
	},
}

// modifiedNumber returns the modification number of a name, or zero when it does not exist.
func (tx *Tx) modifiedNumber(name []byte) (uint64, error) {
	h, err := tx.head(name)
	if err != nil || h == nil {
		return 0, err
	}
	return h.Modified, nil
}
