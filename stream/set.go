package stream

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"

	"millrace/command"
	"millrace/resp"
)

// SET key value [NX | XX | IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] [GET]
// [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]: makes key a string, whatever it
// held, and answers OK, or null when the condition does not hold. With GET it answers the
// old string in both cases.
var set = Command{
	Command: command.Command{
		Name: "set", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage: "key value condition:[NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest:int | IFDNE ifdne-digest:int] [GET] expiration:[EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL]",
		History: []string{
			"2.6.12 `EX` and `PX` are new, and the conditions `NX` and `XX`.",
			"6.0.0 `KEEPTTL` is new.",
			"6.2.0 `GET` is new, as are `EXAT` and `PXAT`.",
			"7.0.0 `NX` can go with `GET`.",
			"8.4.0 Four conditions on the old value are new: `IFEQ`, `IFNE`, `IFDEQ`, `IFDNE`.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update variable_flags"},
		Categories: []string{"write", "string", "slow"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Makes a key a string, whatever it was before.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseSet(argv)
			return refusal
		},
	},
	Run: runSet,
}

// setArgs holds the options of SET and GETEX.
type setArgs struct {
	nx, xx, get bool
	match       setMatch
	keepTTL     bool
	persist     bool   // of GETEX only
	ttlWord     string // the option that gave ttl, or empty
	ttl         deadlineArg
}

// setMatch is SET's condition on the old string.
type setMatch struct {
	word string // IFEQ, IFNE, IFDEQ or IFDNE; empty when there is no condition
	arg  []byte // a value, or the digest of one
}

var matchWords = []string{"IFEQ", "IFNE", "IFDEQ", "IFDNE"}

// digestLen is the length of a digest, which is 64 bits in hexadecimal.
const digestLen = 16

var errDigest = resp.Err(fmt.Sprintf("ERR must be exactly %d hexadecimal characters", digestLen))

// holds reports whether the condition holds for a value. A digest of the right length that
// is not hexadecimal is not refused, as in Redis; no value has it.
func (m *setMatch) holds(value []byte) (ok bool, refusal *resp.Value) {
	switch m.word {
	case "":
		return true, nil
	case "IFEQ", "IFNE":
		return bytes.Equal(value, m.arg) == (m.word == "IFEQ"), nil
	}
	if len(m.arg) != digestLen {
		return false, &errDigest
	}
	digest := fmt.Sprintf("%0*x", digestLen, xxh3.Hash(value))
	return strings.EqualFold(digest, string(m.arg)) == (m.word == "IFDEQ"), nil
}

// missing reports whether the condition prevents SET from creating a missing name.
func (m *setMatch) missing() bool { return m.word == "IFEQ" || m.word == "IFDEQ" }

// option reads the condition at argv[i] and reports whether it is one.
func (m *setMatch) option(argv [][]byte, i int) bool {
	for _, w := range matchWords {
		if command.IsWord(argv[i], w) && i+1 < len(argv) && (m.word == "" || m.word == w) {
			*m = setMatch{w, argv[i+1]} // the last one counts when the option is given twice
			return true
		}
	}
	return false
}

// ttlWords are the options that set a deadline.
var ttlWords = []struct {
	word              string
	seconds, relative bool
}{
	{"EX", true, true}, {"PX", false, true}, {"EXAT", true, false}, {"PXAT", false, false},
}

// ttlOption reads an option of ttlWords at argv[i] and returns the index of its last word, or
// i-1 when there is no such option or it contradicts an earlier one.
func (a *setArgs) ttlOption(argv [][]byte, i int) int {
	for _, w := range ttlWords {
		if !command.IsWord(argv[i], w.word) {
			continue
		}
		// The same option may be given twice. Then the last one counts.
		if a.keepTTL || a.persist || a.ttlWord != "" && a.ttlWord != w.word || i+1 == len(argv) {
			break
		}
		a.ttlWord = w.word
		a.ttl.text, a.ttl.seconds, a.ttl.relative = argv[i+1], w.seconds, w.relative
		return i + 1
	}
	return i - 1
}

// parseSet reads the options of SET. Options exclude each other as they do in Redis, where
// the order matters: IFEQ after NX is refused, but NX after IFEQ is not. The rule is that of
// parseExtendedStringArgumentsOrReply in redis src/t_string.c.
func parseSet(argv [][]byte) (a setArgs, refusal *resp.Value) {
	a.ttl.command = "set"
	for i := 3; i < len(argv); i++ {
		w := argv[i]
		switch {
		case command.IsWord(w, "NX") && !a.xx:
			a.nx = true
		case command.IsWord(w, "XX") && !a.nx:
			a.xx = true
		case command.IsWord(w, "GET"):
			a.get = true
		case command.IsWord(w, "KEEPTTL") && a.ttlWord == "":
			a.keepTTL = true
		case !a.nx && !a.xx && a.match.option(argv, i):
			i++
		default:
			if last := a.ttlOption(argv, i); last >= i {
				i = last
				continue
			}
			return a, &command.ErrSyntax
		}
	}
	_, refusal = a.ttl.at(0)
	return a, refusal
}

func runSet(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseSet(argv)
	if refusal != nil {
		return *refusal, nil
	}
	old, done, refusal, err := tx.set(argv[1], argv[2], &a)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case a.get:
		return old, nil
	case done:
		return resp.OK, nil
	}
	return resp.Null(), nil
}

// set runs SET with the options a. done reports whether the value was set. old is the old
// string, or null, when a has GET or a condition on the old string.
func (tx *Tx) set(name, value []byte, a *setArgs) (old resp.Value, done bool, refusal *resp.Value, err error) {
	atMS, refusal := a.ttl.at(tx.NowMS)
	if refusal != nil {
		return old, false, refusal, nil
	}
	if len(value) > maxStringBytes {
		return old, false, &errStringTooLong, nil
	}
	h, err := tx.head(name)
	if err != nil {
		return old, false, nil, err
	}
	old = resp.Null()
	if h != nil && (a.get || a.match.word != "") {
		if h.Type != TypeString {
			return old, false, &wrongType, nil
		}
		v, err := tx.stringValue(h)
		if err != nil {
			return old, false, nil, err
		}
		old = resp.Bulk(v)
	}
	if h != nil && a.nx || h == nil && (a.xx || a.match.missing()) {
		return old, false, nil, nil
	}
	if h != nil {
		if ok, refusal := a.match.holds(old.Str); !ok {
			return old, false, refusal, nil
		}
	}
	if a.keepTTL && h != nil {
		atMS = h.ExpireAtMS
	}
	return old, true, nil, tx.putString(name, h, value, atMS)
}
