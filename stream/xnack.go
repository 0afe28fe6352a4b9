package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// XNACK key group <SILENT | FAIL | FATAL> IDS numids id [id …] [RETRYCOUNT n] [FORCE]: gives
// pending entries back to the group, and answers their number. They stay pending without an
// owner, and XREADGROUP CLAIM delivers them before all others, however short a time they
// have been idle. SILENT subtracts one from the delivery count, FAIL leaves it, and FATAL
// sets it to the greatest number.
var xnack = Command{
	Command: command.Command{
		Name: "xnack", Arity: -7, Flags: command.Write | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Usage:      "key group mode:(SILENT|FAIL|FATAL) IDS ids:(numids:int id...) [RETRYCOUNT count:int] [FORCE]",
		Categories: []string{"write", "stream", "fast"}, Since: "8.8.0", Group: "stream",
		Summary:    "Gives pending entries back to their group, which delivers them to the next consumer that claims.",
		Complexity: "O(K) for K IDs.",
	},
	Run: runXNack,
}

// The refusals of XNACK. Redis adds the code ERR to texts that begin with "ERR " already, so
// it is there twice.
var (
	errNackMode   = resp.Err("ERR ERR mode must be SILENT, FAIL, or FATAL")
	errNackIDs    = resp.Err("ERR ERR syntax error, expected IDS keyword")
	errNackNumIDs = resp.Err("ERR numids must be a positive integer")
	errNackCount  = resp.Err("ERR ERR number of IDs doesn't match numids")
	errNackRetry  = resp.Err("ERR ERR Invalid RETRYCOUNT value, must be >= 0")
)

// nackMode says how the delivery count changes.
type nackMode uint8

const (
	nackSilent nackMode = iota
	nackFail
	nackFatal
)

// nackArgs holds the arguments of XNACK after the group.
type nackArgs struct {
	mode    nackMode
	ids     []ID
	retries int64 // delivery count to set; negative when it is not given
	force   bool
}

func parseNack(argv [][]byte) (a nackArgs, refusal *resp.Value) {
	switch {
	case command.IsWord(argv[3], "SILENT"):
		a.mode = nackSilent
	case command.IsWord(argv[3], "FAIL"):
		a.mode = nackFail
	case command.IsWord(argv[3], "FATAL"):
		a.mode = nackFatal
	default:
		return a, &errNackMode
	}
	if !command.IsWord(argv[4], "IDS") {
		return a, &errNackIDs
	}
	n, ok := command.ParseInt(argv[5])
	if !ok || n < 1 || n > math.MaxInt32 {
		return a, &errNackNumIDs
	}
	if n > int64(len(argv)-6) {
		return a, &errNackCount
	}
	options := argv[6+n:]
	a.retries = -1
	for i := 0; i < len(options); i++ {
		switch {
		case command.IsWord(options[i], "RETRYCOUNT") && i+1 < len(options):
			i++
			if a.retries, ok = command.ParseInt(options[i]); !ok || a.retries < 0 {
				return a, &errNackRetry
			}
		case command.IsWord(options[i], "FORCE"):
			a.force = true
		default:
			e := resp.Err("ERR ERR Unrecognized XNACK option '" + inText(options[i]) + "'")
			return a, &e
		}
	}
	a.ids, refusal = parseIDs(argv[6 : 6+n])
	return a, refusal
}

func runXNack(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case g == nil:
		return *noGroup(argv[1], argv[2]), nil
	}
	a, refusal := parseNack(argv)
	if refusal != nil {
		return *refusal, nil
	}
	var released int64
	for _, id := range a.ids {
		ok, err := tx.release(h, g, id, &a)
		if err != nil {
			return resp.Value{}, err
		}
		if ok {
			released++
		}
	}
	if released > 0 {
		tx.touch(argv[1]) // a blocked XREADGROUP CLAIM may get a released entry
	}
	return resp.Int(released), nil
}

// release takes the pending entry id from its owner. It reports whether there was one, or
// a.force made one.
func (tx *Tx) release(h *Head, g *group, id ID, a *nackArgs) (bool, error) {
	old, pending, err := tx.getPending(h, g, id)
	if err != nil || !pending && !a.force {
		return false, err
	}
	if _, ok, err := tx.getEntry(h, id); err != nil || !ok {
		return false, err // because a deleted entry cannot be delivered
	}
	p := old
	p.time = g.released
	g.released++
	tx.changedGroup(h, g)
	switch {
	case a.retries >= 0:
		p.deliveries = uint64(a.retries)
	case a.mode == nackFatal:
		p.deliveries = maxDeliveries
	case a.mode == nackSilent && p.deliveries > 0:
		p.deliveries--
	}
	if pending {
		return true, tx.movePending(h, g, id, old, nil, p)
	}
	return true, tx.addPending(h, g, id, nil, p)
}
