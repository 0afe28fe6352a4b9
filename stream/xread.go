package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XREAD [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms] STREAMS key [key …] id [id …]:
// the entries after the given ones, of each stream that has any. "$" stands for the
// greatest ID there ever was, "+" for whatever is before the last entry. BLOCK is the
// caller's to obey: this answers at once.
var xread = Command{
	Command: command.Command{
		Name: "xread", Arity: -4, Flags: command.ReadOnly | command.Blocking | command.MovableKeys,
		Usage: "[COUNT count:int] [MAXCOUNT maxcount:int] [MAXSIZE maxsize:int] [BLOCK milliseconds:int] STREAMS streams:(key... id...)",
		History: []string{
			"8.10.0 Added the `MAXCOUNT` and `MAXSIZE` options.",
		},
		Keys:       command.Keys{Find: func(argv [][]byte) []int { return command.ReadKeys(argv, false) }, Keyword: "STREAMS", KeywordFrom: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow", "blocking"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise.",
		Complexity: "For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order to serve the M clients blocked on the stream getting new data.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := command.ParseRead(argv, false)
			return refusal
		},
	},
	Run:     runXRead,
	Blocked: &blocking{Ready: readyXRead, Read: (*Tx).xread},
}

var errReadGreater = resp.Err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")

// maxReadBytes is after how much memory a reply of XREAD ends although more entries
// wait: the caller goes on from the last one.
const maxReadBytes = 64 << 20

// streamRead is one stream of an XREAD: its entries from from on are wanted.
type streamRead struct {
	h    *Head
	from ID
	none bool // nothing can follow the ID given
}

// _XREADON: XREAD for the router, which has waited for the streams on several shards.
var xreadOn = Command{
	Command: command.Command{
		Name: "_xreadon", Arity: -4, Flags: command.ReadOnly | command.MovableKeys | command.Internal,
		Keys:    xread.Keys,
		Summary: "XREAD that goes on without the keys that are no streams.", Group: "stream",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		tx.waited = true
		return runXRead(tx, argv)
	},
}

// streamReads looks at all streams of an XREAD before anything is read, and returns
// the first refusal, in the order in which Redis finds them. In a call that has waited a
// key that holds another type by now is as good as missing.
func (tx *Tx) streamReads(a *command.Read) ([]streamRead, *resp.Value, error) {
	reads := make([]streamRead, len(a.Keys))
	for i, key := range a.Keys {
		h, refusal, err := tx.stream(key)
		if err != nil || refusal != nil && !tx.waited {
			return nil, refusal, err
		}
		if refusal := ReadIDRefusal(a.IDs[i], false); refusal != nil {
			return nil, refusal, nil
		}
		reads[i].h = h
		var after ID
		switch string(a.IDs[i]) {
		case "$":
			if h != nil {
				after = h.Last
			}
		case "+":
			if h != nil && h.Length > 0 {
				reads[i].from = h.LastEntry
				continue
			}
		default:
			after, _ = parseID(a.IDs[i], 0)
		}
		if reads[i].from, err = after.Succ(); err != nil {
			reads[i].none = true
		}
	}
	return reads, nil, nil
}

// ready reports whether there is an entry to answer.
func (r *streamRead) ready() bool {
	return r.h != nil && r.h.Length > 0 && !r.none && !r.h.LastEntry.Less(r.from)
}

func runXRead(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := command.ParseRead(argv, false)
	if refusal != nil {
		return *refusal, nil
	}
	return tx.xread(&a)
}

// xread runs an XREAD whose words have been read.
func (tx *Tx) xread(a *command.Read) (resp.Value, error) {
	reads, refusal, err := tx.streamReads(a)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	limit := readLimit{maxCount: a.MaxCount, maxSize: a.MaxSize}
	var reply []resp.Value
	memory := 0
	for i := range reads {
		r := &reads[i]
		if !r.ready() {
			continue
		}
		if limit.full() || memory >= maxReadBytes {
			break
		}
		var entries []resp.Value
		limit.stream(a.Keys[i])
		err := tx.eachEntry(r.h, r.from, MaxID, false, func(id ID, raw []byte) (bool, error) {
			v, err := entryValue(id, raw)
			if err != nil {
				return false, err
			}
			entries = append(entries, v)
			limit.entry(v)
			memory += entryMemory(v, raw)
			return (a.Count == 0 || int64(len(entries)) < a.Count) && !limit.full() && memory < maxReadBytes, nil
		})
		if err != nil {
			return resp.Value{}, err
		}
		reply = append(reply, resp.Bulk(a.Keys[i]), resp.Array(entries...))
	}
	if reply == nil {
		return resp.NullArray(), nil
	}
	return resp.Pairs(reply...), nil
}

// readyXRead reports whether a blocked XREAD would answer entries. Redis checks types
// when the call is made only: one that finds another type later goes on waiting.
func readyXRead(tx *Tx, a *command.Read) (bool, error) {
	for i := range a.Keys {
		one := command.Read{Keys: a.Keys[i : i+1], IDs: a.IDs[i : i+1]}
		reads, refusal, err := tx.streamReads(&one)
		if err != nil {
			return false, err
		}
		if refusal == nil && reads[0].ready() {
			return true, nil
		}
	}
	return false, nil
}
