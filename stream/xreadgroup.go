package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XREADGROUP GROUP group consumer [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms]
// [CLAIM min-idle-ms] [NOACK] STREAMS key [key …] id [id …]: entries for a consumer of
// a group. With the ID ">" they are entries that nobody of the group has had, and with
// CLAIM first those that have been pending for too long; with any other ID they are
// what is pending for the consumer after that ID.
//
// Blocking is the shard's doing: run, the command answers at once, the null array where
// there is nothing.
var xreadgroup = Command{
	Command: command.Command{
		Name: "xreadgroup", Arity: -7, Flags: command.Write | command.Blocking | command.MovableKeys,
		Usage: "GROUP group_consumer:(group consumer) [COUNT count:int] [MAXCOUNT maxcount:int] [MAXSIZE maxsize:int] [BLOCK milliseconds:int] [CLAIM min-idle-time:int] [NOACK] STREAMS streams:(key... id...)",
		History: []string{
			"8.4.0 Added the `CLAIM` option.",
			"8.10.0 Added the `MAXCOUNT` and `MAXSIZE` options.",
		},
		Keys: command.Keys{
			Access:  "RO access",
			Find:    func(argv [][]byte) []int { return command.ReadKeys(argv, true) },
			Keyword: "STREAMS", KeywordFrom: 4,
		},
		Categories: []string{"write", "stream", "slow", "blocking"}, Since: "5.0.0", Group: "stream",
		Summary: "Returns new or historical messages from a stream for a consumer in a group. " +
			"Blocks until a message is available otherwise.",
		Complexity: "For each stream mentioned: O(M) with M being the number of elements returned.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := command.ParseRead(argv, true)
			return refusal
		},
	},
	Run:     runXReadGroup,
	Blocked: &blocking{Ready: readyXReadGroup, Arrival: arrivalXReadGroup},
}

// One call of XREADGROUP is one step of the shard, so it ends after this many entries
// or bytes of its reply, as if COUNT or MAXSIZE had said so. The rest is there for the
// next call.
const (
	maxReadGroupEntries = 1 << 16
	maxReadGroupBytes   = 64 << 20
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

// noGroupToRead is the refusal of XREADGROUP where there is no such stream or group.
func noGroupToRead(key, group []byte) *resp.Value {
	e := resp.Err("NOGROUP No such key '" + inText(key) + "' or consumer group '" + inText(group) +
		"' in XREADGROUP with GROUP option")
	return &e
}

// groupRead is what XREADGROUP reads of one stream.
type groupRead struct {
	h     *Head
	g     *group
	fresh bool // the ID was ">"
	after ID   // where the history starts, when not fresh
}

// groupReads looks at all streams of an XREADGROUP before anything is read, and
// returns the first refusal, in the order in which Redis finds them.
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

// groupReadID reads an ID of XREADGROUP that is not refused. Redis keeps ">" as the
// greatest ID, so that one means the same.
func groupReadID(word []byte) (after ID, fresh bool) {
	id, ok := parseID(word, 0)
	return id, !ok || id == MaxID
}

// ReadsNew reports whether an ID of XREADGROUP, which is not refused, asks for entries
// that the group has not had.
func ReadsNew(word []byte) bool {
	_, fresh := groupReadID(word)
	return fresh
}

// hasNew reports whether h holds entries that the group has not had.
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
	limit := readLimit{maxCount: maxReadGroupEntries, maxSize: maxReadGroupBytes}
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
			// In Redis an explicit ID switches CLAIM off for the streams that follow.
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
	left    int64 // entries that COUNT lets follow
	limit   *readLimit
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

// history returns what is pending for c after r.after. Each entry that still exists
// counts as delivered once more.
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

// deliver returns entries that have been pending too long, if the call claims, and
// then entries that the group has not had, and makes them pending for c.
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

// deliverNew makes id pending for c, delivered once. It can be pending already, after
// the group was moved back.
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

// deliverClaimed takes entries of the group that have been pending for minIdleMS, the
// longest first. Those that have been deleted from the stream are passed over.
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

// readyXReadGroup reports whether the call would answer entries or an error.
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

// seenGrainMS is how far behind a consumer's seen-time may be for calls that wait and find
// nothing. Each note of it is a record: one a second for a consumer that waits again and
// again is enough to tell who is alive.
const seenGrainMS = 1000

// arrivalXReadGroup returns what notes that the consumer of a call that is to wait has been
// seen, where it is not there or was not seen for a while.
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

// firstClaimable returns the first pending entry below a place in the order of claims
// whose entry still exists, and whether there is one.
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
