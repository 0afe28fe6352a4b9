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
	released, err := tx.releaseAll(h, g, &a)
	if err != nil {
		return resp.Value{}, err
	}
	if released > 0 {
		tx.touch(argv[1]) // a blocked XREADGROUP CLAIM may get a released entry
	}
	return resp.Int(released), nil
}

// releasable is the state of an ID that XNACK names.
type releasable struct {
	p       pendingEntry
	pending bool
	exists  bool // whether the stream still has the entry
}

// releaseAll takes the entries of a from their owners, and returns how many there were. It
// looks all IDs up first, in rising order, and then releases them in the order of the
// command, because that is the order in which they can be claimed again.
func (tx *Tx) releaseAll(h *Head, g *group, a *nackArgs) (released int64, err error) {
	found := make([]releasable, len(a.ids))
	same := make([]int, len(a.ids)) // the first index of the same ID
	f, first := tx.finder(h, len(a.ids)), 0
	err = eachRising(a.ids, func(i int, again bool) (err error) {
		if !again {
			first = i
			if found[i], err = f.releasable(g, a.ids[i], a.force); err != nil {
				return err
			}
		}
		same[i] = first
		return nil
	})
	if err = f.close(err); err != nil {
		return 0, err
	}
	for i, id := range a.ids {
		r := &found[same[i]]
		if !r.exists || !r.pending && !a.force {
			continue // a deleted entry cannot be delivered
		}
		if err := tx.release(h, g, id, r, a); err != nil {
			return released, err
		}
		released++
	}
	return released, nil
}

// releasable looks up id. force means that it may be released without being pending.
func (f *finder) releasable(g *group, id ID, force bool) (r releasable, err error) {
	r.p, r.pending, err = f.pendingIn(g, id)
	if err == nil && (r.pending || force) {
		_, r.exists, err = f.entry(id)
	}
	return r, err
}

// release takes the existing entry id from its owner, and updates r.
func (tx *Tx) release(h *Head, g *group, id ID, r *releasable, a *nackArgs) error {
	old := *r
	r.p.cid, r.p.time, r.pending = 0, g.released, true
	g.released++
	tx.changedGroup(h, g)
	switch {
	case a.retries >= 0:
		r.p.deliveries = uint64(a.retries)
	case a.mode == nackFatal:
		r.p.deliveries = maxDeliveries
	case a.mode == nackSilent && r.p.deliveries > 0:
		r.p.deliveries--
	}
	if old.pending {
		return tx.movePending(h, g, id, old.p, nil, r.p)
	}
	return tx.addPending(h, g, id, nil, r.p)
}
