package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XCLAIM key group consumer min-idle-ms id [id …] [IDLE ms] [TIME unix-ms] [RETRYCOUNT n]
// [FORCE] [JUSTID] [LASTID id]: gives the consumer those of the pending entries that have
// been idle for long enough, and answers them. Pending entries that were deleted from the
// stream are dropped.
var xclaim = Command{
	Command: command.Command{
		Name: "xclaim", Arity: -6, Flags: command.Write | command.Large | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Tips:       []string{"nondeterministic_output"},
		Usage:      "key group consumer min-idle-time id... [IDLE ms:int] [TIME unix-time-milliseconds:time] [RETRYCOUNT count:int] [FORCE] [JUSTID] [LASTID id]",
		Categories: []string{"write", "stream", "fast"}, Since: "5.0.0", Group: "stream",
		Summary:    "Gives a consumer the named pending entries, if they have been idle for long enough.",
		Complexity: "O(K) for K IDs.",
	},
	Run: runXClaim,
}

var (
	errClaimMinIdle = resp.Err("ERR Invalid min-idle-time argument for XCLAIM")
	errClaimIdle    = resp.Err("ERR Invalid IDLE option argument for XCLAIM")
	errClaimTime    = resp.Err("ERR Invalid TIME option argument for XCLAIM")
	errClaimRetry   = resp.Err("ERR Invalid RETRYCOUNT option argument for XCLAIM")
)

// claimArgs holds the arguments of XCLAIM after the consumer.
type claimArgs struct {
	minIdleMS int64
	ids       []ID
	timeMS    int64 // delivery time to set, since the Unix epoch
	retries   int64 // delivery count to set; negative when it is not given
	force     bool
	justID    bool
	lastID    ID
}

// parseClaim reads the arguments of XCLAIM. XCLAIM has no Check, because Redis looks for the
// group before it reads them.
func parseClaim(argv [][]byte, nowMS int64) (a claimArgs, refusal *resp.Value) {
	var ok bool
	if a.minIdleMS, ok = command.ParseInt(argv[4]); !ok {
		return a, &errClaimMinIdle
	}
	i := 5
	for ; i < len(argv); i++ {
		id, ok := parseID(argv[i], 0)
		if !ok {
			break
		}
		a.ids = append(a.ids, id)
	}
	a.timeMS, a.retries = nowMS, -1
	for ; i < len(argv); i++ {
		word, more := argv[i], i+1 < len(argv)
		var n int64
		switch {
		case command.IsWord(word, "FORCE"):
			a.force = true
		case command.IsWord(word, "JUSTID"):
			a.justID = true
		case command.IsWord(word, "IDLE") && more:
			i++
			if n, ok = command.ParseInt(argv[i]); !ok {
				return a, &errClaimIdle
			}
			a.timeMS = nowMS - n
		case command.IsWord(word, "TIME") && more:
			i++
			if a.timeMS, ok = command.ParseInt(argv[i]); !ok {
				return a, &errClaimTime
			}
		case command.IsWord(word, "RETRYCOUNT") && more:
			i++
			if a.retries, ok = command.ParseInt(argv[i]); !ok {
				return a, &errClaimRetry
			}
		case command.IsWord(word, "LASTID") && more:
			i++
			if a.lastID, ok = parseID(argv[i], 0); !ok {
				return a, &errInvalidID
			}
		default:
			e := resp.Err("ERR Unrecognized XCLAIM option '" + inText(word) + "'")
			return a, &e
		}
	}
	if a.timeMS < 0 || a.timeMS > nowMS {
		a.timeMS = nowMS // because the clock of a client may be ahead of the shard's
	}
	return a, nil
}

func runXClaim(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return *noGroup(argv[1], argv[2]), nil
	}
	a, refusal := parseClaim(argv, tx.NowMS)
	if refusal != nil {
		return *refusal, nil
	}
	if g.delivered.Less(a.lastID) {
		g.delivered = a.lastID
		tx.changedGroup(h, g)
	}
	c, err := tx.attend(h, g, argv[3])
	if err != nil {
		return resp.Value{}, err
	}
	replies := make([]resp.Value, len(a.ids))
	taken := make([]bool, len(a.ids))
	f := tx.finder(h, len(a.ids))
	memory, most := 0, tx.room(maxLargeCost*replyUnit)
	var e claimable // the ID before, as it is now
	err = eachRising(a.ids, func(i int, again bool) error {
		if !again {
			if e, err = f.claimable(g, a.ids[i], a.force); err != nil {
				return err
			}
		}
		replies[i], taken[i], err = tx.claim(h, g, c, &e, &a)
		if memory += replyMemory(&replies[i]); memory > most {
			return errOverspent
		}
		return err
	})
	if err = f.close(err); err != nil {
		return resp.Value{}, err
	}
	claimed := replies[:0]
	for i, v := range replies {
		if taken[i] {
			claimed = append(claimed, v)
		}
	}
	if len(claimed) > 0 && a.timeMS < tx.NowMS {
		tx.touch(argv[1]) // a blocked XREADGROUP CLAIM may find an entry that now counts as idle
	}
	return resp.Array(claimed...), nil
}

// claimable looks up id for a claim. force means that it may be claimed without being
// pending.
func (f *finder) claimable(g *group, id ID, force bool) (e claimable, err error) {
	e.id = id
	e.pending, e.isPending, err = f.pendingIn(g, id)
	if err == nil && (e.isPending || force) {
		e.raw, e.exists, err = f.entry(id)
	}
	return e, err
}

// claim makes e c's, if it is pending or a.force lets it become so, and returns what
// XCLAIM answers for it. It updates e.
func (tx *Tx) claim(h *Head, g *group, c *consumer, e *claimable, a *claimArgs) (v resp.Value, ok bool, err error) {
	if e.isPending {
		v, outcome, err := tx.claimPending(h, g, c, *e, a)
		switch outcome {
		case claimTaken:
			e.pending = a.apply(e.pending)
			e.pending.cid = c.cid
		case claimDeleted:
			e.isPending = false
		}
		return v, outcome == claimTaken, err
	}
	if !a.force || !e.exists {
		return v, false, nil
	}
	// As in Redis, an entry that FORCE makes pending starts with one delivery.
	e.pending, e.isPending = a.apply(pendingEntry{deliveries: 1}), true
	e.pending.cid = c.cid
	if err := tx.addPending(h, g, e.id, c, e.pending); err != nil {
		return v, false, err
	}
	c.activeMS = tx.NowMS
	v, err = a.reply(e.id, e.raw)
	return v, err == nil, err
}

// claimOutcome is the result of a claim of one pending entry.
type claimOutcome uint8

const (
	claimYoung   claimOutcome = iota // not idle for long enough; its owner stays
	claimTaken                       // given to the consumer
	claimDeleted                     // dropped, because the stream has no such entry any more
)

// claimable is an ID with its pending entry, and with the entry of the stream.
type claimable struct {
	id        ID
	pending   pendingEntry
	isPending bool
	raw       []byte // the entry
	exists    bool   // whether the stream still has the entry
}

// claimPending gives the pending entry e to c, if it has been idle for long enough. It
// returns the entry as it is answered.
func (tx *Tx) claimPending(h *Head, g *group, c *consumer, e claimable, a *claimArgs) (resp.Value, claimOutcome, error) {
	switch {
	case !e.exists:
		return resp.Value{}, claimDeleted, tx.dropPending(h, g, e.id, e.pending)
	case !e.pending.claimable(tx.NowMS, a.minIdleMS):
		return resp.Value{}, claimYoung, nil
	}
	if err := tx.movePending(h, g, e.id, e.pending, c, a.apply(e.pending)); err != nil {
		return resp.Value{}, claimYoung, err
	}
	c.activeMS = tx.NowMS
	v, err := a.reply(e.id, e.raw)
	return v, claimTaken, err
}

// apply returns p with the delivery time and the delivery count that the claim sets.
func (a *claimArgs) apply(p pendingEntry) pendingEntry {
	p.time = uint64(a.timeMS)
	switch {
	case a.retries >= 0:
		p.deliveries = uint64(a.retries)
	case !a.justID:
		p.delivered()
	}
	return p
}

// reply returns a claimed entry as it is answered: only its ID with JUSTID.
func (a *claimArgs) reply(id ID, raw []byte) (resp.Value, error) {
	if a.justID {
		return idValue(id), nil
	}
	return entryValue(id, raw)
}
