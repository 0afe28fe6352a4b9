package workload

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"millrace/kv"
	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
	"millrace/test/chaos/measure"
)

// Env is the environment that all clients of a run share.
type Env struct {
	Book     *check.Book
	Timeline *measure.Timeline
	Shards   *measure.Shards
	Faults   Faults
	Addrs    []string // the nodes' client addresses
	Password string   // empty: the nodes need none
	Slots    []Slots  // of each shard
	Seed     uint64
}

// Slots is the run of hash slots of a shard.
type Slots struct {
	Shard       uint32
	First, Last int
}

// Faults tells whether a fault can be the reason for a slow call or a wrong idle time.
type Faults interface {
	// Calm reports whether a node ran and clients could reach it all the time from then
	// until now.
	Calm(node int, from, to time.Duration) bool
	// Clocks reports whether the nodes' clocks are right, so that idle times can be
	// compared with the run's clock.
	Clocks() bool
}

// Timeouts of clients. After a timeout the outcome of the call is unknown, and its client
// turns to another node.
const (
	dialTimeout  = 700 * time.Millisecond
	replyTimeout = 3 * time.Second
	// hangSlack is how much longer than its BLOCK time a call may take (G9).
	hangSlack = 2 * time.Second
	// errorPause is the time that a client waits after an error.
	errorPause = 30 * time.Millisecond
)

// session is a client's connection, which moves to the next node after a failure. One
// goroutine uses it.
type session struct {
	env  *Env
	at   int  // index of the node
	only bool // stay with this node after a failure
	opt  client.Options
	conn *client.Conn // nil: not connected
	rng  *rand.Rand   // the client's random choices, which follow from the seed and its id
}

// session returns a session of the client id that begins at a node, modulo their number.
func (e *Env) session(id uint64, at int) *session {
	return &session{env: e, at: at % len(e.Addrs), rng: rand.New(rand.NewPCG(e.Seed, id)),
		opt: client.Options{Password: e.Password, Dial: dialTimeout, Reply: replyTimeout}}
}

// get returns a working connection, or nil when ctx ended first.
func (s *session) get(ctx context.Context) *client.Conn {
	for ctx.Err() == nil {
		if s.conn != nil && !s.conn.Broken() {
			return s.conn
		}
		s.drop()
		c, err := client.Dial(s.at, s.env.Addrs[s.at], s.opt)
		if err == nil {
			s.conn = c
			return c
		}
		s.fail(ctx)
	}
	return nil
}

// fail closes the connection, moves to the next node, and waits for errorPause.
func (s *session) fail(ctx context.Context) {
	s.drop()
	if !s.only {
		s.at = (s.at + 1) % len(s.env.Addrs)
	}
	sleep(ctx, errorPause)
}

// drop closes the connection, if there is one.
func (s *session) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// do sends one command, and counts its outcome and latency.
func (s *session) do(c *client.Conn, words ...string) (reply, client.Outcome, error) {
	began := time.Now()
	v, outcome, err := c.Do(words...)
	s.count(outcome, time.Since(began), 0)
	return reply{v}, outcome, err
}

// count counts a command in the timeline, with the XADDs that it acknowledged.
func (s *session) count(o client.Outcome, took time.Duration, adds int) {
	switch o {
	case client.Replied:
		s.env.Timeline.Replied(took, adds)
	case client.Refused:
		s.env.Timeline.Refused(1)
	default:
		s.env.Timeline.Unknown(1)
	}
}

// name returns a key in a slot of the shard: prefix, or prefix with a number, as in "hot.7".
func (e *Env) name(prefix string, shard Slots) string {
	for i := 0; ; i++ {
		name := prefix
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		if s := int(kv.Slot([]byte(name))); s >= shard.First && s <= shard.Last {
			return name
		}
	}
}
