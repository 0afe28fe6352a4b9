package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]: deletes
// entries from the start of a stream and answers their number.
var xtrim = Command{
	Command: command.Command{
		Name: "xtrim", Arity: -4, Flags: command.Write,
		Tips:  []string{"nondeterministic_output"},
		Usage: "key trim:(strategy:(MAXLEN|MINID) operator:[equal==|approximately=~] threshold [LIMIT count:int]) condition:[KEEPREF|DELREF|ACKED]",
		History: []string{
			"6.2.0 `MINID` and `LIMIT` are new.",
			"8.2.0 `KEEPREF`, `DELREF`, `ACKED` are new.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Categories: []string{"write", "stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Removes the oldest entries of a stream.",
		Complexity: "O(C) for C chunks that go, plus the entries of one chunk; with DELREF or ACKED, O(N*G) for N entries and G groups.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseTrim(argv)
			return refusal
		},
	},
	Run: runXTrim,
}

var errTrimStrategy = resp.Err("ERR syntax error, XTRIM must be called with a trimming strategy")

func parseTrim(argv [][]byte) (t trimArgs, refusal *resp.Value) {
	for i := 2; i < len(argv); i++ {
		last, refusal := t.option(argv, i)
		if refusal != nil {
			return t, refusal
		}
		if last < i {
			return t, &command.ErrSyntax
		}
		i = last
	}
	switch {
	case t.limit > 0 && t.by == trimNone:
		return t, &errLimitAlone
	case t.by == trimNone:
		return t, &errTrimStrategy
	}
	return t, t.check()
}

func runXTrim(tx *Tx, argv [][]byte) (resp.Value, error) {
	t, refusal := parseTrim(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Int(0), nil
	}
	n, err := tx.trim(h, &t)
	return resp.Int(int64(n)), err
}
