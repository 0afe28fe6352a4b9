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
	// Session is a client until it has an operation of which nothing is known: such a
	// one may take effect later, so the client goes on under another number. The words
	// of every write tell it: see sessionOf.
	Session  uint64
	Stream   string
	Commands [][]string // more than one: a transaction
	Reads    bool       // it changes nothing
	// Blocks: it may be in the log several times, or not at all. No other has the same
	// words.
	Blocks bool

	Invoked, Returned time.Duration
	Outcome           client.Outcome
	Reply             resp.Value // where there is one
}

// History is what some clients have done. Any goroutine may record.
type History struct {
	mu   sync.Mutex
	ops  []Op
	next uint64
}

// Session returns a number that no session has had.
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

// Of returns the operations on some streams, in the order in which they were invoked.
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

// The three ways in which the words of a write tell its session: the name of a
// consumer, the beginning of a payload, and the ID of an entry that never was.
func consumerName(session uint64) string { return "s" + strconv.FormatUint(session, 10) }
func payload(session uint64, n int) string {
	return consumerName(session) + "." + strconv.Itoa(n)
}
func nobodysID(session uint64) string { return "0-" + strconv.FormatUint(session, 10) }

// sessionOf returns the session that has sent a call; zero: none.
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

// sent returns the words of a command as they may stand in the log: a server takes the
// time to block away, and may change it.
func sent(words []string) []string {
	at := slices.Index(words, "BLOCK")
	if at < 0 || words[0] != "XREADGROUP" {
		return words
	}
	return slices.Delete(slices.Clone(words), at, at+2)
}

// attendedFor reports whether a call of the log was run for one that is to wait.
func attendedFor(o *Op, call Call) bool {
	if !o.Blocks || call.Multi || call.Commands[0][0] != attends {
		return false
	}
	w := o.Commands[0]
	return slices.Equal(call.Commands[0][1:], []string{w[2], w[3], w[len(w)-2]})
}

func sameCommands(a, b [][]string) bool {
	return slices.EqualFunc(a, b, func(a, b []string) bool { return slices.Equal(sent(a), sent(b)) })
}
