package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XREADGROUP GROUP group consumer [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms]
// [CLAIM min-idle-ms] [NOACK] STREAMS key [key …] id [id …]: answers entries for a consumer
// of a group. The ID decides which:
//
//	>         entries that the group has not delivered to any consumer; with CLAIM, first
//	          the entries that have been pending for min-idle-ms
//	other ID  the history: entries after the ID that are pending for this consumer
//
// The command itself answers at once, with a null array when there is no entry; the shard
// waits when there is a BLOCK (see Blocked).
var xreadgroup = Command{
	Command: command.Command{
		Name: "xreadgroup", Arity: -7, Flags: command.Write | command.Blocking | command.MovableKeys,
		Usage: "GROUP group_consumer:(group consumer) [COUNT count:int] [MAXCOUNT maxcount:int] [MAXSIZE maxsize:int] [BLOCK milliseconds:int] [CLAIM min-idle-time:int] [NOACK] STREAMS streams:(key... id...)",
		History: []string{
			"8.4.0 `CLAIM` is new.",
			"8.10.0 `MAXCOUNT` and `MAXSIZE` are new.",
		},
		Keys: command.Keys{
			Access:  "RO access",
			Find:    func(argv [][]byte) []int { return command.ReadKeys(argv, true) },
			Keyword: "STREAMS", KeywordFrom: 4,
		},
		Categories: []string{"write", "stream", "slow", "blocking"}, Since: "5.0.0", Group: "stream",
		Summary: "Reads entries for one consumer of a group: new ones, those of others that have been pending for too long, " +
			"or its own history. With BLOCK it can wait for the first one.",
		Complexity: "O(K+N) for K streams and N entries in the answer.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := command.ParseRead(argv, true)
			return refusal
		},
	},
	Run:     runXReadGroup,
	Blocked: &blocking{Ready: readyXReadGroup, Arrival: arrivalXReadGroup},
}

// The bounds of one XREADGROUP, because nothing else runs in the shard meanwhile. The reply
// ends there as if MAXCOUNT and MAXSIZE had asked for it, and the next call gets the rest.
const (
	maxReadGroupEntries = 1 << 16
	maxReadGroupBytes   = 16 << 20
)

var (
	errDollarID = meaninglessID("$")
	errPlusID   = meaninglessID("+")
)

func meaninglessID(id string) resp.Value {
	return resp.Err("ERR The " + id + " ID is meaningless in the context of XREADGROUP: you want to read the history " +
		"of this consumer by specifying a proper ID, or use the > ID to get new messages. The " + id +
		" ID would just return an empty result set.")
}

// noGroupToRead returns XREADGROUP's refusal of a missing stream or group.
func noGroupToRead(key, group []byte) *resp.Value {
	e := resp.Err("NOGROUP No such key '" + inText(key) + "' or consumer group '" + inText(group) +
		"' in XREADGROUP with GROUP option")
	return &e
}

// groupRead is one stream of an XREADGROUP.
type groupRead struct {
	h     *Head
	g     *group
	fresh bool // whether the ID is ">", which asks for new entries
	after ID   // otherwise the history is read after this ID
}

// groupReads checks all streams of an XREADGROUP before any is read. It returns the first
// refusal, in Redis's order.
func (tx *Tx) groupReads(a *command.Read) ([]groupRead, *resp.Value, error) {
	reads := make([]groupRead, len(a.Keys))
	for i, key := range a.Keys {
		h, g, refusal, err := tx.streamGroup(key, a.Group)
		if refusal != nil || err != nil {
			return nil, refusal, err
		}
		if g == nil {
			return nil, noGroupToRead(key, a.Group), nil
		}
		reads[i] = groupRead{h: h, g: g}
		if refusal := ReadIDRefusal(a.IDs[i], true); refusal != nil {
			return nil, refusal, nil
		}
		reads[i].after, reads[i].fresh = groupReadID(a.IDs[i])
	}
	return reads, nil, nil
}

// groupReadID reads an ID of XREADGROUP that ReadIDRefusal accepts. The greatest ID means the
// same as ">", because Redis keeps ">" as that ID.
func groupReadID(word []byte) (after ID, fresh bool) {
	id, ok := parseID(word, 0)
	return id, !ok || id == MaxID
}

// ReadsNew reports whether an ID of XREADGROUP asks for entries that the group has not
// delivered yet. ReadIDRefusal must accept the ID.
func ReadsNew(word []byte) bool {
	_, fresh := groupReadID(word)
	return fresh
}

// hasNew reports whether the stream has entries that the group has not delivered yet.
func (r *groupRead) hasNew() bool { return r.h.Length > 0 && r.g.delivered.Less(r.h.LastEntry) }

func runXReadGroup(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := command.ParseRead(argv, true)
	if refusal != nil {
		return *refusal, nil
	}
	reads, refusal, err := tx.groupReads(&a)
	if err != nil {
		return resp.Value{}, err
	}
	if refusal != nil {
		return *refusal, nil
	}
	limit := readLimit{maxCount: maxReadGroupEntries, maxSize: int64(tx.room(maxReadGroupBytes))}
	if a.MaxCount > 0 {
		limit.maxCount = min(limit.maxCount, a.MaxCount)
	}
	if a.MaxSize > 0 {
		limit.maxSize = min(limit.maxSize, a.MaxSize)
	}
	var reply []resp.Value
	for i := range reads {
		if limit.full() {
			break
		}
		r := &reads[i]
		c, err := tx.attend(r.h, r.g, a.Consumer)
		if err != nil {
			return resp.Value{}, err
		}
		var entries []resp.Value
		if r.fresh {
			entries, err = tx.deliver(r, c, &a, &limit)
		} else {
			// In Redis, an ID other than ">" switches CLAIM off for all later streams.
			a.Claims = false
			entries, err = tx.history(r, c, &a, &limit)
		}
		if err != nil {
			return resp.Value{}, err
		}
		if len(entries) > 0 || !r.fresh {
			reply = append(reply, resp.Bulk(a.Keys[i]), resp.Array(entries...))
		}
	}
	if reply == nil {
		return resp.NullArray(), nil
	}
	return resp.Pairs(reply...), nil
}

// readTake collects the entries of one stream, within the limits of the call.
type readTake struct {
	key     []byte
	entries []resp.Value
	left    int64      // number of entries that COUNT still allows
	limit   *readLimit // of the whole call
}

func newReadTake(key []byte, count int64, limit *readLimit) readTake {
	if count == 0 {
		count = maxReadGroupEntries
	}
	return readTake{key: key, left: count, limit: limit}
}

func (t *readTake) full() bool { return t.left <= 0 || t.limit.full() }

func (t *readTake) add(v resp.Value) {
	if t.entries == nil {
		t.limit.stream(t.key)
	}
	t.entries = append(t.entries, v)
	t.left--
	t.limit.entry(v)
}

// history returns the pending entries of c after r.after, and counts one more delivery of
// each. A pending entry that was deleted from the stream is returned without fields, and not
// counted.
func (tx *Tx) history(r *groupRead, c *consumer, a *command.Read, limit *readLimit) ([]resp.Value, error) {
	take := newReadTake(r.h.Name, a.Count, limit)
	from, err := r.after.Succ()
	if err != nil {
		return nil, nil // nothing follows the greatest ID
	}
	existing := tx.entryCursor(r.h)
	err = tx.eachOwned(r.h, r.g, c, from, MaxID, func(id ID, p pendingEntry) (bool, error) {
		if take.full() {
			return false, nil
		}
		raw, ok, err := existing.get(id)
		if err != nil {
			return false, err
		}
		if !ok {
			take.add(resp.Array(idValue(id), resp.NullArray()))
			return true, nil
		}
		v, err := entryValue(id, raw)
		if err != nil {
			return false, err
		}
		take.add(v)
		old := p
		p.time = uint64(tx.NowMS)
		p.delivered()
		return true, tx.movePending(r.h, r.g, id, old, c, p)
	})
	return take.entries, firstError(err, existing.close())
}

// deliver returns new entries and makes them pending for c. If the call claims, entries that
// have been pending for a.MinIdleMS come first.
func (tx *Tx) deliver(r *groupRead, c *consumer, a *command.Read, limit *readLimit) ([]resp.Value, error) {
	take := newReadTake(r.h.Name, a.Count, limit)
	extra := 0
	if a.Claims {
		extra = 2
		if err := tx.deliverClaimed(r, c, a.MinIdleMS, &take); err != nil {
			return nil, err
		}
	}
	if !r.hasNew() || take.full() {
		return take.entries, nil
	}
	from, err := r.g.delivered.Succ()
	if err != nil {
		return take.entries, nil
	}
	err = tx.eachEntry(r.h, from, MaxID, false, func(id ID, raw []byte) (bool, error) {
		v, err := entryValueWith(id, raw, extra)
		if err != nil {
			return false, err
		}
		if extra > 0 {
			v.Elems[2], v.Elems[3] = resp.Int(0), resp.Int(0)
		}
		take.add(v)
		r.g.advance(r.h, id)
		tx.changedGroup(r.h, r.g)
		if !a.NoAck {
			if err := tx.deliverNew(r, c, id); err != nil {
				return false, err
			}
		}
		return !take.full(), nil
	})
	return take.entries, err
}

// deliverNew makes id pending for c, delivered once. The entry may be pending already, if
// XGROUP SETID moved the group back.
func (tx *Tx) deliverNew(r *groupRead, c *consumer, id ID) error {
	c.activeMS = tx.NowMS
	p := pendingEntry{time: uint64(tx.NowMS), deliveries: 1}
	old, ok, err := tx.getPending(r.h, r.g, id)
	if err != nil {
		return err
	}
	if ok {
		return tx.movePending(r.h, r.g, id, old, c, p)
	}
	return tx.addPending(r.h, r.g, id, c, p)
}

// deliverClaimed gives c the entries of the group that have been pending for minIdleMS, those
// pending for the longest time first. Entries that were deleted from the stream are skipped.
func (tx *Tx) deliverClaimed(r *groupRead, c *consumer, minIdleMS int64, take *readTake) error {
	existing := tx.entryCursor(r.h)
	below := claimableBelow(tx.NowMS, minIdleMS)
	err := tx.eachClaimable(r.h, r.g, below, func(id ID, p pendingEntry) (bool, error) {
		if take.full() {
			return false, nil
		}
		raw, ok, err := existing.get(id)
		if err != nil || !ok {
			return err == nil, err
		}
		v, err := entryValueWith(id, raw, 2)
		if err != nil {
			return false, err
		}
		v.Elems[2], v.Elems[3] = resp.Int(p.idleMS(tx.NowMS)), resp.Int(int64(p.deliveries))
		take.add(v)
		old := p
		p.time = uint64(tx.NowMS)
		p.delivered()
		c.activeMS = tx.NowMS
		return true, tx.movePending(r.h, r.g, id, old, c, p)
	})
	return firstError(err, existing.close())
}

// readyXReadGroup reports whether a blocked XREADGROUP would answer entries or an error.
func readyXReadGroup(tx *Tx, a *command.Read) (bool, error) {
	reads, refusal, err := tx.groupReads(a)
	if refusal != nil || err != nil {
		return true, err
	}
	for i := range reads {
		r := &reads[i]
		if !r.fresh || r.hasNew() {
			return true, nil
		}
		if !a.Claims {
			continue
		}
		_, ok, err := tx.firstClaimable(r, claimableBelow(tx.NowMS, a.MinIdleMS))
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// seenGrainMS is how many milliseconds the seen-time of a consumer may be behind when its
// calls wait and find nothing. Each update costs a record in the log. One a second is enough
// to tell which consumers are alive.
const seenGrainMS = 1000

// arrivalXReadGroup returns the command that records that the consumer of a call about to
// wait was seen. It returns nil when the consumer exists and was seen less than seenGrainMS
// ago in every group.
func arrivalXReadGroup(tx *Tx, a *command.Read) ([][]byte, error) {
	reads, refusal, err := tx.groupReads(a)
	if refusal != nil || err != nil {
		return nil, err
	}
	for i := range reads {
		if c, err := tx.consumer(reads[i].h, reads[i].g, a.Consumer); err != nil {
			return nil, err
		} else if c == nil || tx.NowMS-c.seenMS >= seenGrainMS {
			return append([][]byte{[]byte("_XGROUPATTEND"), a.Group, a.Consumer}, a.Keys...), nil
		}
	}
	return nil, nil
}

// firstClaimable returns the first pending entry, in the order of claims, that lies below a
// place and still exists in the stream. ok is false when there is none.
func (tx *Tx) firstClaimable(r *groupRead, below uint64) (first pendingEntry, ok bool, err error) {
	existing := tx.entryCursor(r.h)
	err = tx.eachClaimable(r.h, r.g, below, func(id ID, p pendingEntry) (bool, error) {
		var err error
		_, ok, err = existing.get(id)
		first = p
		return !ok, err
	})
	return first, ok, firstError(err, existing.close())
}
