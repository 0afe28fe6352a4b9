package stream

import (
	"millrace/command"
	"millrace/resp"
)

// GETEX key [EX s | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST]: answers the string at key
// as GET does, and sets or removes its deadline.
var getex = Command{
	Command: command.Command{
		Name: "getex", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key expiration:[EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | PERSIST]",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "string", "fast"},
		Since:      "6.2.0", Group: "string",
		Summary:    "Reads a string and sets or removes its deadline.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseGetEx(argv)
			return refusal
		},
	},
	Run: runGetEx,
}

func parseGetEx(argv [][]byte) (a setArgs, refusal *resp.Value) {
	a.ttl.command = "getex"
	for i := 2; i < len(argv); i++ {
		if command.IsWord(argv[i], "PERSIST") && a.ttlWord == "" {
			a.persist = true
			continue
		}
		last := a.ttlOption(argv, i)
		if last < i {
			return a, &command.ErrSyntax
		}
		i = last
	}
	return a, nil
}

// runGetEx checks the time only when there is a string, as Redis does.
func runGetEx(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseGetEx(argv)
	if refusal != nil {
		return *refusal, nil
	}
	v, h, refusal, err := tx.bulkAt(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if h == nil {
		return v, nil
	}
	atMS, refusal := a.ttl.at(tx.NowMS)
	switch {
	case refusal != nil:
		return *refusal, nil
	case a.persist && h.ExpireAtMS == 0, !a.persist && atMS == 0:
		return v, nil
	case !a.persist && atMS <= tx.NowMS:
		return v, tx.remove(h)
	}
	tx.modified(h)
	return v, tx.setDeadline(h, atMS)
}
