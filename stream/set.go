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
// [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]: makes key a string, whatever
// it held. It answers null where a condition keeps it from that, and with GET what was
// there before in either case.
var set = Command{
	Command: command.Command{
		Name: "set", Arity: -3, Flags: command.Write | command.DenyOOM,
		Usage: "key value condition:[NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest:int | IFDNE ifdne-digest:int] [GET] expiration:[EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL]",
		History: []string{
			"2.6.12 Added the `EX`, `PX`, `NX` and `XX` options.",
			"6.0.0 Added the `KEEPTTL` option.",
			"6.2.0 Added the `GET`, `EXAT` and `PXAT` option.",
			"7.0.0 Allowed the `NX` and `GET` options to be used together.",
			"8.4.0 Added the `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE` options.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update variable_flags"},
		Categories: []string{"write", "string", "slow"},
		Since:      "1.0.0", Group: "string",
		Summary:    "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
		Complexity: "O(1)",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseSet(argv)
			return refusal
		},
	},
	Run: runSet,
}

// setArgs are the options of SET, and of GETEX.
type setArgs struct {
	nx, xx, get bool
	match       setMatch
	keepTTL     bool
	persist     bool // of GETEX only
	ttlWord     string
	ttl         deadlineArg
}

// setMatch is SET's condition on the value that is there.
type setMatch struct {
	word string // IFEQ, IFNE, IFDEQ or IFDNE; "": none
	arg  []byte // a value, or the digest of one
}

var matchWords = []string{"IFEQ", "IFNE", "IFDEQ", "IFDNE"}

// digestLen is the length of a digest: 64 bits in hex.
const digestLen = 16

var errDigest = resp.Err(fmt.Sprintf("ERR must be exactly %d hexadecimal characters", digestLen))

// holds reports whether the condition holds for a value. Only the length of a digest is
// looked at: one that is not hex is the digest of nothing.
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

// missing reports whether the condition keeps SET from a name that is not there.
func (m *setMatch) missing() bool { return m.word == "IFEQ" || m.word == "IFDEQ" }

// option reads the condition at argv[i] and reports whether it is one.
func (m *setMatch) option(argv [][]byte, i int) bool {
	for _, w := range matchWords {
		if command.IsWord(argv[i], w) && i+1 < len(argv) && (m.word == "" || m.word == w) {
			*m = setMatch{w, argv[i+1]} // given twice, the last one counts
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

// ttlOption reads EX and its like at argv[i] and returns the index of its last word; i-1
// where there is none.
func (a *setArgs) ttlOption(argv [][]byte, i int) int {
	for _, w := range ttlWords {
		if !command.IsWord(argv[i], w.word) {
			continue
		}
		// The same option twice: the last one counts.
		if a.keepTTL || a.persist || a.ttlWord != "" && a.ttlWord != w.word || i+1 == len(argv) {
			break
		}
		a.ttlWord = w.word
		a.ttl.text, a.ttl.seconds, a.ttl.relative = argv[i+1], w.seconds, w.relative
		return i + 1
	}
	return i - 1
}

// parseSet reads the options of SET. Which exclude each other, and in which order, is as
// in Redis's parseExtendedStringArgumentsOrReply: it refuses IFEQ after NX, but not
// the reverse.
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

// set does what SET does. It reports whether the value was set, and with GET what was
// there.
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
