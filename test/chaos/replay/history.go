package replay

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/resp"
	"millrace/test/chaos/client"
)

// Op is an operation of a client.
type Op struct {
	// Session is the number of the client. The client takes a new number after a write
	// with an unknown outcome, because that may take effect after its next operations. The
	// words of every write name the session: see sessionOf.
	Session  uint64
	Stream   string
	Commands [][]string // more than one: a transaction
	Reads    bool       // it changes nothing
	// Blocks is true for an XREADGROUP with BLOCK. It may be in the log several times or
	// not at all. No other operation has the same words.
	Blocks bool

	Invoked, Returned time.Duration // by the run's clock
	Outcome           client.Outcome
	Reply             resp.Value // if Outcome is Replied or Refused
}

// History holds the operations of some clients. Its methods are safe for concurrent use.
type History struct {
	mu   sync.Mutex // guards the fields below
	ops  []Op
	next uint64 // the last number that Session returned
}

// Session returns a new session number, above 0.
func (h *History) Session() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

// Add adds an operation that has ended.
func (h *History) Add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// Of returns the operations on some streams, in the order of Invoked.
func (h *History) Of(streams []string) []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ops []Op
	for _, o := range h.ops {
		if slices.Contains(streams, o.Stream) {
			ops = append(ops, o)
		}
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Invoked - b.Invoked) })
	return ops
}

// The words of a write name its session in one of three ways. For session 5 these are the
// consumer "s5", a payload such as "s5.17", and the ID "0-5", which no entry has.
func consumerName(session uint64) string { return "s" + strconv.FormatUint(session, 10) }
func payload(session uint64, n int) string {
	return consumerName(session) + "." + strconv.Itoa(n)
}
func nobodysID(session uint64) string { return "0-" + strconv.FormatUint(session, 10) }

// sessionOf returns the session of a call, or 0 when its words name none.
func sessionOf(c Call) uint64 {
	for _, words := range c.Commands {
		for _, w := range words {
			digits, ok := strings.CutPrefix(w, "0-")
			if !ok {
				if digits, ok = strings.CutPrefix(w, "s"); ok {
					digits, _, _ = strings.Cut(digits, ".")
				}
			}
			if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil {
				return n
			}
		}
	}
	return 0
}

// sent returns the words of an XREADGROUP without its BLOCK time, and those of any other
// command as they are. A server may remove or change the time before it logs the command.
func sent(words []string) []string {
	at := slices.Index(words, "BLOCK")
	if at < 0 || words[0] != "XREADGROUP" {
		return words
	}
	return slices.Delete(slices.Clone(words), at, at+2)
}

// attendedFor reports whether a call of the log is the attends command of o, with which a
// shard registers the consumer of a call that begins to wait.
func attendedFor(o *Op, call Call) bool {
	if !o.Blocks || call.Multi || call.Commands[0][0] != attends {
		return false
	}
	w := o.Commands[0]
	return slices.Equal(call.Commands[0][1:], []string{w[2], w[3], w[len(w)-2]})
}

// sameCommands reports whether two calls have the same commands, apart from BLOCK times.
func sameCommands(a, b [][]string) bool {
	return slices.EqualFunc(a, b, func(a, b []string) bool { return slices.Equal(sent(a), sent(b)) })
}
