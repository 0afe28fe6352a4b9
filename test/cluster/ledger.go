package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ledger collects the replies that the clients of a run got: acknowledged, refused and
// unknown writes, deliveries and acknowledgements of entries. It checks them against each
// other and against a final read. Any goroutine may call its methods.
type Ledger struct {
	mu        sync.Mutex
	acked     map[string]entry       // by payload: its stream and ID
	unknown   map[string]string      // by payload: the stream it may be in
	refused   map[string]string      // by payload: the stream it must not be in
	lastID    map[string]string      // by stream: the greatest acknowledged ID
	delivered map[string]int         // by payload: number of deliveries to a consumer
	finished  map[string]finish      // by stream/id: the XACK that was answered with 1
	writes    map[string][]time.Time // by stream: times of acknowledged writes, rising
	problems  []string
}

type entry struct{ stream, id string }

type finish struct {
	consumer string
	at       time.Time
}

// maxProblems limits the problems that a run reports. Later ones usually follow from the
// first.
const maxProblems = 20

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		acked: map[string]entry{}, unknown: map[string]string{}, refused: map[string]string{},
		lastID: map[string]string{}, delivered: map[string]int{}, finished: map[string]finish{},
		writes: map[string][]time.Time{},
	}
}

// Problem records a broken invariant.
func (l *Ledger) Problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem(format, args...)
}

func (l *Ledger) problem(format string, args ...any) {
	if len(l.problems) < maxProblems {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// Problems returns the broken invariants found so far.
func (l *Ledger) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.problems...)
}

// Floor returns the greatest ID acknowledged on stream so far. An XADD that begins now must
// get a greater ID.
func (l *Ledger) Floor(stream string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastID[stream]
}

// Added records an acknowledged XADD that began when Floor returned floor.
func (l *Ledger) Added(stream, id, payload, floor string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if floor != "" && CompareIDs(id, floor) <= 0 {
		l.problem("%s: %s was acknowledged as %s, not above %s, which was acknowledged before it began", stream, payload, id, floor)
	}
	if CompareIDs(id, l.lastID[stream]) > 0 {
		l.lastID[stream] = id
	}
	l.acked[payload] = entry{stream, id}
	l.writes[stream] = append(l.writes[stream], time.Now())
}

// Unknown records an XADD with an unknown outcome.
func (l *Ledger) Unknown(stream, payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown[payload] = stream
}

// Refused records an XADD that was answered with a "not done" error.
func (l *Ledger) Refused(stream, payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[payload] = stream
}

// Delivered records that a call which started at began delivered an entry to consumer.
func (l *Ledger) Delivered(stream, id, payload, consumer string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[payload]++
	if f, ok := l.finished[stream+"/"+id]; ok && f.at.Before(began) {
		l.problem("%s %s (%s) was delivered to %s after %s had acknowledged it", stream, id, payload, consumer, f.consumer)
	}
}

// Finished records that consumer's XACK of an entry was answered with 1.
func (l *Ledger) Finished(stream, id, consumer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.finished[stream+"/"+id]; ok {
		l.problem("%s %s: XACK was answered with 1 to %s and to %s", stream, id, f.consumer, consumer)
	}
	l.finished[stream+"/"+id] = finish{consumer, time.Now()}
}

// Counts returns the numbers of acknowledged, unknown and refused XADDs, and of XACKs that
// were answered with 1.
func (l *Ledger) Counts() (acked, unknown, refused, finished int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), len(l.unknown), len(l.refused), len(l.finished)
}

// Resumed returns the time from since to the first acknowledged write on the slowest stream,
// and the name of that stream. A stream without such a write counts until now.
func (l *Ledger) Resumed(since time.Time, streams []string) (time.Duration, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst time.Duration
	var which string
	for _, s := range streams {
		d := time.Since(since)
		w := l.writes[s]
		for i := len(w) - 1; i >= 0 && w[i].After(since); i-- {
			d = w[i].Sub(since)
		}
		if d > worst {
			worst, which = d, s
		}
	}
	return worst, which
}

// Item is an entry in a final read.
type Item struct{ ID, Payload string }

// CheckFinal compares the items of stream on one replica with the recorded replies. where
// names the replica in problems.
func (l *Ledger) CheckFinal(where, stream string, items []Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[string]string, len(items))
	last := ""
	for _, it := range items {
		if last != "" && CompareIDs(it.ID, last) <= 0 {
			l.problem("%s: %s: ID %s follows %s", where, stream, it.ID, last)
		}
		last = it.ID
		if other, dup := seen[it.Payload]; dup {
			l.problem("%s: %s: %s occurs twice, as %s and %s", where, stream, it.Payload, other, it.ID)
		}
		seen[it.Payload] = it.ID
		if _, ok := l.refused[it.Payload]; ok {
			l.problem("%s: %s: %s exists as %s, but its XADD was refused", where, stream, it.Payload, it.ID)
		}
		if e, ok := l.acked[it.Payload]; ok && (e.id != it.ID || e.stream != stream) {
			l.problem("%s: %s: %s exists as %s, but was acknowledged as %s of %s", where, stream, it.Payload, it.ID, e.id, e.stream)
		} else if !ok && l.unknown[it.Payload] != stream && l.refused[it.Payload] != stream {
			l.problem("%s: %s: %s as %s was never sent", where, stream, it.Payload, it.ID)
		}
		if len(l.delivered) > 0 && l.delivered[it.Payload] == 0 { // the run has consumers, but none got the entry
			l.problem("%s: %s: %s (%s) was never delivered to a consumer", where, stream, it.Payload, it.ID)
		}
	}
	for payload, e := range l.acked {
		if _, ok := seen[payload]; e.stream == stream && !ok {
			l.problem("%s: %s: %s, acknowledged as %s, is missing", where, stream, payload, e.id)
		}
	}
}

// CompareIDs compares two stream IDs. The empty ID is less than all others.
func CompareIDs(a, b string) int {
	am, as := splitID(a)
	bm, bs := splitID(b)
	switch {
	case am < bm || am == bm && as < bs:
		return -1
	case am == bm && as == bs:
		return 0
	}
	return 1
}

func splitID(id string) (ms, seq uint64) {
	a, b, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(a, 10, 64) // the empty ID is 0-0
	seq, _ = strconv.ParseUint(b, 10, 64)
	return ms, seq
}
