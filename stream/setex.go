package stream

import (
	"millrace/command"
	"millrace/resp"
)

// SETEX key seconds value: as SET with EX.
var setex = setExpiring("setex", "seconds:int", true, "2.0.0",
	"Sets the string value and expiration time of a key. Creates the key if it doesn't exist.")

// PSETEX key milliseconds value: as SET with PX.
var psetex = setExpiring("psetex", "milliseconds:int", false, "2.6.0",
	"Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.")

func setExpiring(name, when string, seconds bool, since, summary string) Command {
	args := func(argv [][]byte) *setArgs {
		return &setArgs{ttl: deadlineArg{command: name, text: argv[2], seconds: seconds, relative: true}}
	}
	return Command{
		Command: command.Command{
			Name: name, Usage: "key " + when + " value", Arity: 4, Flags: command.Write | command.DenyOOM,
			Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "OW update"},
			Categories: []string{"write", "string", "slow"},
			Since:      since, Group: "string", Summary: summary, Complexity: "O(1)",
			Check: func(argv [][]byte) *resp.Value {
				_, refusal := args(argv).ttl.at(0)
				return refusal
			},
		},
		Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
			_, _, refusal, err := tx.set(argv[1], argv[3], args(argv))
			if err != nil || refusal != nil {
				return refused(refusal, err)
			}
			return resp.OK, nil
		},
	}
}
