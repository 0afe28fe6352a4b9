package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XCFGSET key [IDMP-DURATION seconds] [IDMP-MAXSIZE n]: sets how long a stream remembers
// idempotent IDs, and how many for each producer. A change forgets all of them.
var xcfgset = Command{
	Command: command.Command{
		Name: "xcfgset", Arity: -2, Flags: command.Write | command.Fast,
		Usage:      "key [IDMP-DURATION duration:int] [IDMP-MAXSIZE maxsize:int]",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "8.6.0", Group: "stream",
		Summary:    "Sets for how long a stream remembers idempotent IDs, and how many of each producer.",
		Complexity: "O(1), however many idempotent IDs a change makes the stream forget.",
	},
	Run: runXCfgSet,
}

// Refusals of XCFGSET.
var (
	errCfgNone          = resp.Err("ERR At least one parameter must be specified")
	errCfgDuration      = resp.Err("ERR IDMP-DURATION must be between 1 and 86400 seconds")
	errCfgDurationTwice = resp.Err("ERR IDMP-DURATION specified multiple times")
	errCfgSize          = resp.Err("ERR IDMP-MAXSIZE must be between 1 and 10000 entries")
	errCfgSizeTwice     = resp.Err("ERR IDMP-MAXSIZE specified multiple times")
)

// parseCfg reads the options. A zero result means that the option is not given. XCFGSET has no
// Check, because Redis looks at the key before the options.
func parseCfg(opts [][]byte) (seconds, size int64, refusal *resp.Value) {
	if len(opts) == 0 {
		return 0, 0, &errCfgNone
	}
	for i := 0; i < len(opts); i += 2 {
		field, lo, hi, twice, outside := &seconds, int64(minIDMPSeconds), int64(maxIDMPSeconds), &errCfgDurationTwice, &errCfgDuration
		switch {
		case i+1 >= len(opts):
			return 0, 0, &command.ErrSyntax
		case command.IsWord(opts[i], "IDMP-MAXSIZE"):
			field, lo, hi, twice, outside = &size, minIDMPSize, maxIDMPSize, &errCfgSizeTwice, &errCfgSize
		case !command.IsWord(opts[i], "IDMP-DURATION"):
			return 0, 0, &command.ErrSyntax
		}
		n, ok := command.ParseInt(opts[i+1])
		switch {
		case *field != 0:
			return 0, 0, twice
		case !ok:
			return 0, 0, &command.ErrNotInteger
		case n < lo || n > hi:
			return 0, 0, outside
		}
		*field = n
	}
	return seconds, size, nil
}

func runXCfgSet(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[1])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	}
	seconds, size, refusal := parseCfg(argv[2:])
	if refusal != nil {
		return *refusal, nil
	}
	m := &h.IDMP
	want := *m
	if seconds != 0 {
		want.Seconds = uint64(seconds)
	}
	if size != 0 {
		want.MaxSize = uint64(size)
	}
	if want == *m {
		return resp.OK, nil
	}
	*m = want
	return resp.OK, tx.forgetAllIIDs(h)
}
