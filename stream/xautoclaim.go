package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// XAUTOCLAIM key group consumer min-idle-ms start [COUNT n] [JUSTID]: gives the consumer the
// pending entries from start on that have been idle for long enough. Pending entries that
// were deleted from the stream are dropped. It answers the ID at which the next call
// continues, the claimed entries, and the IDs of the dropped ones.
var xautoclaim = Command{
	Command: command.Command{
		Name: "xautoclaim", Arity: -6, Flags: command.Write | command.Fast, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RW delete"},
		Tips:  []string{"nondeterministic_output"},
		Usage: "key group consumer min-idle-time start [COUNT count:int] [JUSTID]",
		History: []string{
			"7.0.0 The reply has a third element: IDs of pending entries that no longer exist in the stream, and are dropped.",
		},
		Categories: []string{"write", "stream", "fast"}, Since: "6.2.0", Group: "stream",
		Summary:    "Gives a consumer pending entries that have been idle for too long, found by a walk over the pending list.",
		Complexity: "O(COUNT): at most ten pending entries are looked at for each one that may be claimed.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseAutoClaim(argv)
			return refusal
		},
	},
	Run: runXAutoClaim,
}

const (
	defaultAutoClaim = 100
	// autoClaimLooks is the number of entries that may be looked at for each one that may
	// be claimed. For example, COUNT 5 looks at no more than 50.
	autoClaimLooks = 10
	// maxAutoClaim bounds the entries that one call claims, because nothing else runs in
	// the shard meanwhile. The cursor in the reply leads to the rest.
	maxAutoClaim = 10000
	// autoClaimMemory is the COUNT from which on Redis refuses the call, because the IDs of
	// deleted entries would need a tebibyte of memory.
	autoClaimMemory = 1 << 36
)

var (
	errAutoMinIdle = resp.Err("ERR Invalid min-idle-time argument for XAUTOCLAIM")
	errAutoMemory  = resp.Err("ERR Insufficient memory, failed allocating transient memory, COUNT too high.")
)

// autoClaimArgs holds the arguments of XAUTOCLAIM after the consumer.
type autoClaimArgs struct {
	minIdleMS int64
	start     ID
	count     int64
	justID    bool
}

func parseAutoClaim(argv [][]byte) (a autoClaimArgs, refusal *resp.Value) {
	var ok bool
	if a.minIdleMS, ok = command.ParseInt(argv[4]); !ok {
		return a, &errAutoMinIdle
	}
	if a.start, refusal = parseStart(argv[5]); refusal != nil {
		return a, refusal
	}
	a.count = defaultAutoClaim
	for i := 6; i < len(argv); i++ {
		switch {
		case command.IsWord(argv[i], "COUNT") && i+1 < len(argv):
			i++
			if a.count, ok = command.ParseInt(argv[i]); !ok || a.count < 1 || a.count > math.MaxInt64/16 {
				return a, &errCountPositive
			}
		case command.IsWord(argv[i], "JUSTID"):
			a.justID = true
		default:
			return a, &command.ErrSyntax
		}
	}
	return a, nil
}

func runXAutoClaim(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseAutoClaim(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return *noGroup(argv[1], argv[2]), nil
	case a.count >= autoClaimMemory:
		return errAutoMemory, nil
	}
	c, err := tx.attend(h, g, argv[3])
	if err != nil {
		return resp.Value{}, err
	}
	left := min(a.count, maxAutoClaim)
	looks := left * autoClaimLooks
	how := claimArgs{minIdleMS: a.minIdleMS, timeMS: tx.NowMS, retries: -1, justID: a.justID}
	var next ID
	var claimed, deleted []resp.Value
	memory, most := 0, tx.room(maxReadGroupBytes)
	entries := tx.entryCursor(h)
	err = tx.eachPending(h, g, a.start, MaxID, func(id ID, p pendingEntry) (bool, error) {
		if looks == 0 || left == 0 || memory >= most {
			next = id
			return false, nil
		}
		looks--
		raw, exists, err := entries.get(id)
		if err != nil {
			return false, err
		}
		v, outcome, err := tx.claimPending(h, g, c, claimable{id: id, pending: p, raw: raw, exists: exists}, &how)
		switch outcome {
		case claimTaken:
			claimed = append(claimed, v)
			memory += replyMemory(&v)
			left--
		case claimDeleted:
			deleted = append(deleted, idValue(id))
			left--
		}
		return true, err
	})
	if err = firstError(err, entries.close()); err != nil {
		return resp.Value{}, err
	}
	return resp.Array(idValue(next), resp.Array(claimed...), resp.Array(deleted...)), nil
}
