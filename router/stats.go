package router

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"millrace/call"
	"millrace/command"
)

// stats holds the counters of the router since its start, or since CONFIG RESETSTAT.
type stats struct {
	connections    atomic.Int64 // accepted
	rejected       atomic.Int64 // refused for protected mode or a limit
	authFailures   atomic.Int64
	authTimeouts   atomic.Int64
	protocolErrors atomic.Int64
	outputLimit    atomic.Int64 // clients closed for not reading
	abandoned      atomic.Int64 // calls that got no answer
	commands       atomic.Int64
	errorReplies   atomic.Int64
	bytesIn        atomic.Int64
	bytesOut       atomic.Int64
	reads, writes  atomic.Int64  // of sockets
	peak           atomic.Uint64 // bytes: the largest used_memory that INFO has seen
	rate           rate

	// Calls that ended without a reply, by class.
	noLeader, timedOut, overloaded, inDoubt, otherFailed atomic.Int64

	byCommand map[*command.Command]*commandStats // of the table; never changes

	mu     sync.Mutex
	errors map[string]int64 // error replies by first word; guarded by mu
}

// commandStats counts one command.
type commandStats struct {
	calls, nanos, rejected, failed atomic.Int64
	latency                        atomic.Pointer[histogram] // made with the first call
}

// took counts the duration of a call.
func (c *commandStats) took(nanos int64) {
	h := c.latency.Load()
	if h == nil {
		c.latency.CompareAndSwap(nil, new(histogram))
		h = c.latency.Load()
	}
	h.add(nanos)
}

// rate keeps the totals of the last seconds, to compute numbers per second.
type rate struct {
	mu      sync.Mutex
	samples [rateSamples]totals
	next    int
}

// rateSamples, taken every sweepEvery, cover two seconds.
const rateSamples = 8

type totals struct {
	at                int64 // r.now(); zero: no sample yet
	commands, in, out int64
}

// sample notes the totals at now.
func (s *stats) sample(now int64) {
	s.rate.mu.Lock()
	defer s.rate.mu.Unlock()
	s.rate.samples[s.rate.next] = totals{now, s.commands.Load(), s.bytesIn.Load(), s.bytesOut.Load()}
	s.rate.next = (s.rate.next + 1) % rateSamples
}

// perSecond returns commands and bytes per second over the samples.
func (r *rate) perSecond() (commands, in, out int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := r.samples[(r.next+rateSamples-1)%rateSamples]
	oldest := r.samples[r.next]
	for i := r.next; oldest.at == 0 && i < r.next+rateSamples; i++ {
		oldest = r.samples[i%rateSamples]
	}
	d := newest.at - oldest.at
	if d <= 0 {
		return 0, 0, 0
	}
	per := func(a, b int64) int64 { return max(int64(float64(b-a)*1e9/float64(d)), 0) } // after a reset, b may be below a
	return per(oldest.commands, newest.commands), per(oldest.in, newest.in), per(oldest.out, newest.out)
}

// maxErrorKinds bounds the first words of errors that are counted, as in Redis. Errors with
// further words count in the total alone.
const maxErrorKinds = 128

func newStats(table command.Table) *stats {
	s := &stats{byCommand: make(map[*command.Command]*commandStats), errors: make(map[string]int64)}
	for _, cmd := range table {
		s.byCommand[cmd] = new(commandStats)
		for _, sub := range cmd.Subcommands {
			s.byCommand[sub] = new(commandStats)
		}
	}
	return s
}

// answered counts a request whose reply goes out.
func (s *stats) answered(q *request, reply []byte) {
	s.commands.Add(1)
	if q.failed {
		s.errorReply(reply)
	}
	if q.cmd == nil {
		return
	}
	c := s.byCommand[q.cmd]
	c.calls.Add(1)
	if !q.blocks {
		c.nanos.Add(q.end - q.start)
		c.took(q.end - q.start)
	}
	if q.failed {
		c.failed.Add(1)
	}
}

// executed counts a command of an EXEC.
func (s *stats) executed(cmd *command.Command) { s.byCommand[cmd].calls.Add(1) }

// rejectedCall counts a command that was refused before it ran.
func (s *stats) rejectedCall(cmd *command.Command) { s.byCommand[cmd].rejected.Add(1) }

// errorReply counts an encoded error by its first word.
func (s *stats) errorReply(reply []byte) {
	s.errorReplies.Add(1)
	text := string(reply[min(1, len(reply)):min(len(reply), 64)])
	word, _, _ := strings.Cut(strings.TrimRight(text, "\r\n"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.errors[word]; !ok && len(s.errors) >= maxErrorKinds {
		return
	}
	s.errors[word]++
}

// callFailed counts a call that ended without a reply.
func (s *stats) callFailed(kind call.Kind, err error) {
	switch {
	case errors.Is(err, call.ErrInDoubt) && kind == call.Write:
		s.inDoubt.Add(1)
	case busy(err):
		s.overloaded.Add(1)
	case errors.Is(err, call.ErrTimeout):
		s.timedOut.Add(1)
	case errors.Is(err, call.ErrTooLarge), errors.Is(err, call.ErrCanceled), errors.Is(err, errOvertaken):
		s.otherFailed.Add(1)
	default:
		s.noLeader.Add(1)
	}
}

// reset sets the counters of connections, commands and errors to zero.
func (s *stats) reset() {
	for _, n := range []*atomic.Int64{
		&s.connections, &s.rejected, &s.commands, &s.errorReplies, &s.bytesIn, &s.bytesOut, &s.reads, &s.writes,
	} {
		n.Store(0)
	}
	for _, c := range s.byCommand {
		c.calls.Store(0)
		c.nanos.Store(0)
		c.rejected.Store(0)
		c.failed.Store(0)
		if h := c.latency.Load(); h != nil {
			h.reset()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.errors)
}

// Counter is one counter or gauge of the router, for metrics.
type Counter struct {
	Name  string // as in a metric's name: "connections_accepted"
	Help  string // a sentence for operators
	Label string // tells counters of one name apart: the class of an error, or a command; may be empty
	Value float64
	Gauge bool
}

// counterHelp describes each counter by its name.
var counterHelp = map[string]string{
	"connections":                 "Clients that are connected.",
	"connections_unauthenticated": "Connected clients that have not authenticated yet.",
	"clients_blocked":             "Clients in a blocking call.",
	"connections_accepted":        "Connections of clients, refused ones included.",
	"connections_rejected":        "Connections that were refused: too many clients, or protected mode.",
	"auth_failures":               "Wrong passwords.",
	"auth_timeouts":               "Clients that were closed because they did not authenticate in time.",
	"protocol_errors":             "Connections that were closed because of bytes that are no command.",
	"output_limit_closed":         "Clients that were closed because they did not read their replies.",
	"calls_abandoned":             "Commands that were given up because no answer came.",
	"error_replies":               "Replies that are errors.",
	"bytes_read":                  "Bytes read from clients.",
	"bytes_written":               "Bytes written to clients.",
	"calls_failed":                "Commands that failed, by the class of their error.",
	"commands":                    "Commands that were run, by name.",
}

// Counters returns the present values of all counters, always in the same order.
func (r *Router) Counters() []Counter {
	s := r.stats
	r.mu.Lock()
	connected, unauthed, blocked := len(r.conns), r.unauthed, r.blocked
	r.mu.Unlock()
	n := func(name, label string, v int64) Counter {
		return Counter{Name: name, Help: counterHelp[name], Label: label, Value: float64(v)}
	}
	out := []Counter{
		{Name: "connections", Help: counterHelp["connections"], Value: float64(connected), Gauge: true},
		{Name: "connections_unauthenticated", Help: counterHelp["connections_unauthenticated"], Value: float64(unauthed), Gauge: true},
		{Name: "clients_blocked", Help: counterHelp["clients_blocked"], Value: float64(blocked), Gauge: true},
		n("connections_accepted", "", s.connections.Load()),
		n("connections_rejected", "", s.rejected.Load()),
		n("auth_failures", "", s.authFailures.Load()),
		n("auth_timeouts", "", s.authTimeouts.Load()),
		n("protocol_errors", "", s.protocolErrors.Load()),
		n("output_limit_closed", "", s.outputLimit.Load()),
		n("calls_abandoned", "", s.abandoned.Load()),
		n("error_replies", "", s.errorReplies.Load()),
		n("bytes_read", "", s.bytesIn.Load()),
		n("bytes_written", "", s.bytesOut.Load()),
		n("calls_failed", "clusterdown", s.noLeader.Load()),
		n("calls_failed", "tryagain", s.timedOut.Load()),
		n("calls_failed", "overloaded", s.overloaded.Load()),
		n("calls_failed", "indoubt", s.inDoubt.Load()),
		n("calls_failed", "other", s.otherFailed.Load()),
	}
	for _, cmd := range r.sorted() {
		for _, one := range append([]*command.Command{cmd}, cmd.Subcommands...) {
			if v := s.byCommand[one].calls.Load(); v > 0 {
				out = append(out, n("commands", one.Name, v))
			}
		}
	}
	return out
}
