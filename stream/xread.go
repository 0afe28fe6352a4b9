package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XREAD [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms] STREAMS key [key …] id [id …]:
// answers the entries after each ID, and leaves out streams without any. "$" stands for the
// greatest ID that the stream ever had. "+" asks for the last entry. The command itself
// answers at once; the shard waits when there is a BLOCK (see Blocked).
var xread = Command{
	Command: command.Command{
		Name: "xread", Arity: -4, Flags: command.ReadOnly | command.Blocking | command.MovableKeys,
		Usage: "[COUNT count:int] [MAXCOUNT maxcount:int] [MAXSIZE maxsize:int] [BLOCK milliseconds:int] STREAMS streams:(key... id...)",
		History: []string{
			"8.10.0 `MAXCOUNT` and `MAXSIZE` are new.",
		},
		Keys:       command.Keys{Find: func(argv [][]byte) []int { return command.ReadKeys(argv, false) }, Keyword: "STREAMS", KeywordFrom: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow", "blocking"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Reads the entries after an ID, from one or several streams. With BLOCK it can wait for the first one.",
		Complexity: "O(K+N) for K streams and N entries in the answer. After an XADD, each call that waits on the stream reads for itself.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := command.ParseRead(argv, false)
			return refusal
		},
	},
	Run:     runXRead,
	Blocked: &blocking{Ready: readyXRead, Read: (*Tx).xread},
}

var errReadGreater = resp.Err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")

// maxReadBytes bounds the memory of a reply of XREAD. The reply ends at the entry that
// reaches it, and the caller continues after that entry.
const maxReadBytes = 64 << 20

// streamRead is one stream of an XREAD.
type streamRead struct {
	h    *Head
	from ID   // the first ID to read
	none bool // whether the given ID is the greatest, so that no entry can follow
}

// _XREADON: runs XREAD for a call that has waited. The router sends it to each shard of a call
// over several shards, once there is something to read. Unlike XREAD it skips keys that hold
// another type by now.
var xreadOn = Command{
	Command: command.Command{
		Name: "_xreadon", Arity: -4, Flags: command.ReadOnly | command.MovableKeys | command.Internal,
		Keys:    xread.Keys,
		Summary: "Does the same as XREAD, without the keys that are no streams.", Group: "stream",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		tx.waited = true
		return runXRead(tx, argv)
	},
}

// streamReads checks all streams of an XREAD before any is read. It returns the first
// refusal, in Redis's order. In a call that has waited, a key that holds another type by now
// counts as missing.
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

// ready reports whether the stream has an entry from r.from on.
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

// xread runs an XREAD with the arguments a.
func (tx *Tx) xread(a *command.Read) (resp.Value, error) {
	reads, refusal, err := tx.streamReads(a)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	limit := readLimit{maxCount: a.MaxCount, maxSize: a.MaxSize}
	var reply []resp.Value
	memory, most := 0, tx.room(maxReadBytes)
	for i := range reads {
		r := &reads[i]
		if !r.ready() {
			continue
		}
		if limit.full() || memory >= most {
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
			return (a.Count == 0 || int64(len(entries)) < a.Count) && !limit.full() && memory < most, nil
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

// readyXRead reports whether a blocked XREAD would answer entries. A key that holds another
// type by now does not make it ready, because Redis checks types only when a call is made.
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
