package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMPAUTO pid | IDMP pid iid]
// [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value …]:
// adds an entry, trims the stream, and answers the entry's ID. It answers null when the
// stream is missing and NOMKSTREAM is given. When the idempotent ID is known already, XADD
// adds nothing and answers the ID of the entry that was added with it.
var xadd = Command{
	Command: command.Command{
		Name: "xadd", Arity: -5, Flags: command.Write | command.DenyOOM | command.Fast,
		Tips:  []string{"nondeterministic_output"},
		Usage: "key [NOMKSTREAM] condition:[KEEPREF|DELREF|ACKED] idmp:[IDMPAUTO pid | IDMP idmp-ids:(pid iid)] trim:[strategy:(MAXLEN|MINID) operator:[equal==|approximately=~] threshold [LIMIT count:int]] id_or_auto:(auto_id=*|id) field_value:(field value)...",
		History: []string{
			"6.2.0 `NOMKSTREAM`, `MINID` and `LIMIT` are new.",
			"7.0.0 An ID can have its time only: `<ms>-*`.",
			"8.2.0 `KEEPREF`, `DELREF`, `ACKED` are new.",
			"8.6.0 `IDMP` and `IDMPAUTO` are new.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "stream", "fast"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Adds an entry to the end of a stream, which need not exist before.",
		Complexity: "O(N) for an entry of N bytes, plus the trim, which costs as much as XTRIM.",
		Check:      checkXAdd,
	},
	Run: runXAdd,
}

// Refusals of XADD.
var (
	errAddZero      = resp.Err("ERR The ID specified in XADD must be greater than 0-0")
	errAddSmall     = resp.Err("ERR The ID specified in XADD is equal or smaller than the target stream top item")
	errAddExhausted = resp.Err("ERR The stream has exhausted the last possible ID, unable to add more items")
	errAddTooLarge  = resp.Err("ERR Elements are too large to be stored")
)

// Refusals of idempotent IDs.
var (
	errIDMPTwice   = resp.Err("ERR syntax error, IDMP/IDMPAUTO specified multiple times")
	errIDMPNoPID   = resp.Err("ERR syntax error, IDMP requires a non-empty producer ID")
	errIDMPNoIID   = resp.Err("ERR syntax error, IDMP requires a non-empty idempotent ID")
	errIDMPAutoPID = resp.Err("ERR syntax error, IDMPAUTO requires a non-empty producer ID")
	errIDMPOnlyNew = resp.Err("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs")
	errIDMPTooLong = resp.Err("ERR producer ID and idempotent ID must not be longer than 1024 bytes")
)

// maxIDMPText bounds the length of a producer ID and of an idempotent ID, because both are
// parts of keys.
const maxIDMPText = 1024

// addArgs holds the arguments of XADD.
type addArgs struct {
	trim       trimArgs
	noMkStream bool
	auto       bool // the ID is "*"
	autoSeq    bool // the ID is "ms-*"; id holds ms
	id         ID
	pid, iid   []byte   // producer ID and idempotent ID; pid is nil when there is no IDMP
	autoIID    bool     // whether iid is computed from words (IDMPAUTO)
	words      [][]byte // fields and values in turn
}

// idempotency reads IDMP or IDMPAUTO at argv[i] and returns the index of its last word, or
// i-1 when there is neither.
func (a *addArgs) idempotency(argv [][]byte, i int) (int, *resp.Value) {
	more := len(argv) - 1 - i
	auto := command.IsWord(argv[i], "IDMPAUTO")
	switch {
	case auto && more >= 1 || command.IsWord(argv[i], "IDMP") && more >= 2:
	default:
		return i - 1, nil
	}
	if a.pid != nil {
		return i, &errIDMPTwice
	}
	a.pid, a.autoIID = argv[i+1], auto
	switch {
	case len(a.pid) == 0 && auto:
		return i, &errIDMPAutoPID
	case len(a.pid) == 0:
		return i, &errIDMPNoPID
	case !auto:
		a.iid = argv[i+2]
		if len(a.iid) == 0 {
			return i, &errIDMPNoIID
		}
		i++
	}
	if len(a.pid) > maxIDMPText || len(a.iid) > maxIDMPText {
		return i, &errIDMPTooLong
	}
	return i + 1, nil
}

// parseAdd reads the arguments of XADD. The options come first, in any order. The ID is the
// first word that is not an option.
func parseAdd(argv [][]byte) (a addArgs, refusal *resp.Value) {
	i := 2
	for ; i < len(argv); i++ {
		w := argv[i]
		if len(w) == 1 && w[0] == '*' {
			a.auto = true
			break
		}
		if command.IsWord(w, "NOMKSTREAM") {
			a.noMkStream = true
			continue
		}
		last, refusal := a.trim.option(argv, i)
		if refusal == nil && last < i {
			last, refusal = a.idempotency(argv, i)
		}
		if refusal != nil {
			return a, refusal
		}
		if last >= i {
			i = last
			continue
		}
		var ok bool
		if a.id, a.autoSeq, ok = parseNewID(w); !ok {
			return a, &errInvalidID
		}
		if a.pid != nil {
			return a, &errIDMPOnlyNew
		}
		break
	}
	if refusal := a.trim.check(); refusal != nil {
		return a, refusal
	}
	if i >= len(argv) || (len(argv)-i-1)%2 != 0 || len(argv)-i-1 < 2 {
		return a, command.WrongArity("xadd")
	}
	a.words = argv[i+1:]
	if !a.auto && !a.autoSeq && a.id.IsZero() {
		return a, &errAddZero
	}
	return a, nil
}

func checkXAdd(argv [][]byte) *resp.Value {
	_, refusal := parseAdd(argv)
	return refusal
}

// nextID returns the ID for a new entry of a stream with the greatest ID last. For example,
// after 5-7 at time 5, "*" and "5-*" both give 5-8.
func (a *addArgs) nextID(last ID, nowMS int64) (ID, *resp.Value) {
	if last == MaxID {
		return ID{}, &errAddExhausted
	}
	id := a.id
	switch {
	case a.auto:
		id, _ = last.Next(uint64(max(nowMS, 0))) // no error, because last is not MaxID
		return id, nil
	case a.autoSeq && id.MS == last.MS:
		if last.Seq == math.MaxUint64 {
			return ID{}, &errAddSmall
		}
		return ID{last.MS, last.Seq + 1}, nil
	}
	if !last.Less(id) {
		return ID{}, &errAddSmall
	}
	return id, nil
}

func runXAdd(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseAdd(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.stream(argv[1])
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if h == nil && a.noMkStream {
		return resp.Null(), nil
	}
	var last ID
	if h != nil {
		last = h.Last
		if a.pid != nil {
			if id, ok, err := tx.knownIID(h, &a); err != nil || ok {
				return tx.newID(id), err
			}
		}
	}
	id, refusal := a.nextID(last, tx.NowMS)
	if refusal != nil {
		return *refusal, nil
	}
	size := uint64(0)
	for _, w := range a.words {
		size += uint64(len(w))
	}
	if size > listpackMaxBytes {
		return errAddTooLarge, nil
	}
	if h == nil {
		if h, err = tx.createStream(argv[1]); err != nil {
			return resp.Value{}, err
		}
	}
	if err := tx.putEntry(h, id, a.words, size); err != nil {
		return resp.Value{}, err
	}
	if a.pid != nil {
		if err := tx.rememberIID(h, a.pid, a.idempotentID(), id); err != nil {
			return resp.Value{}, err
		}
	}
	tx.touchHead(h)
	if _, err := tx.trim(h, &a.trim); err != nil {
		return resp.Value{}, err
	}
	return tx.newID(id), nil
}

// idempotentID returns the idempotent ID. With IDMPAUTO it is computed from the words.
func (a *addArgs) idempotentID() []byte {
	if a.autoIID && a.iid == nil {
		a.iid = autoIID(a.words)
	}
	return a.iid
}

// knownIID returns the ID of the entry that was added with the same idempotent ID before, and
// counts the duplicate. ok is false when there is no such entry.
func (tx *Tx) knownIID(h *Head, a *addArgs) (id ID, ok bool, err error) {
	rec, ok, err := tx.findIID(h, a.pid, a.idempotentID())
	if ok {
		h.IDMP.Duplicates++
		tx.dirty(h)
	}
	return rec.id, ok, err
}

// refused returns err, or else the refusal as a reply. One of them must not be nil.
func refused(refusal *resp.Value, err error) (resp.Value, error) {
	if err != nil {
		return resp.Value{}, err
	}
	return *refusal, nil
}
