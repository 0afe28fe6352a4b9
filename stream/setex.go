package stream

import (
	"millrace/command"
	"millrace/resp"
)

// SETEX key seconds value: does the same as SET with EX.
var setex = setExpiring(true, command.Command{
	Name: "setex", Usage: "key seconds:int value", Since: "2.0.0",
	Summary: "Stores a string that lives for so many seconds.",
})

// PSETEX key milliseconds value: does the same as SET with PX.
var psetex = setExpiring(false, command.Command{
	Name: "psetex", Usage: "key milliseconds:int value", Since: "2.6.0",
	Summary: "Stores a string that lives for so many milliseconds.",
})

// setExpiring returns SETEX or PSETEX. c gives the parts of its description in which the two
// differ; seconds says that the time to live is in seconds, rather than milliseconds.
func setExpiring(seconds bool, c command.Command) Command {
	args := func(argv [][]byte) *setArgs {
		return &setArgs{ttl: deadlineArg{command: c.Name, text: argv[2], seconds: seconds, relative: true}}
	}
	c.Arity, c.Flags = 4, command.Write|command.DenyOOM
	c.Keys = command.Keys{First: 1, Last: 1, Step: 1, Access: "OW update"}
	c.Categories = []string{"write", "string", "slow"}
	c.Group, c.Complexity = "string", "O(1)"
	c.Check = func(argv [][]byte) *resp.Value {
		_, refusal := args(argv).ttl.at(0)
		return refusal
	}
	run := func(tx *Tx, argv [][]byte) (resp.Value, error) {
		_, _, refusal, err := tx.set(argv[1], argv[3], args(argv))
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		return resp.OK, nil
	}
	return Command{Command: c, Run: run}
}
