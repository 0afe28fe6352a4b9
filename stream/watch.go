package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// WATCH is the router's; the numbers it watches are kept here: see Tx.modified.

// _MODIFIED key [key …]: for each name the shard's count of modifications as it was at
// the name's last one; zero for a name that is not there.
var modifiedCmd = Command{
	Command: command.Command{
		Name: "_modified", Arity: -2, Flags: command.ReadOnly | command.Fast | command.Internal, Group: "transactions",
		Keys:    command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"},
		Summary: "Returns the modification numbers of keys.",
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

// _WATCHED key number [key number …]: OK while every name has the number that _MODIFIED
// answered; else null, and the rest of the EXEC is not run. A name that has expired in
// the meantime has another number, as one that was deleted.
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

// modifiedNumber returns the modification number of a name.
func (tx *Tx) modifiedNumber(name []byte) (uint64, error) {
	h, err := tx.head(name)
	if err != nil || h == nil {
		return 0, err
	}
	return h.Modified, nil
}
