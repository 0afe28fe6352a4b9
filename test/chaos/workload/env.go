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

// Env is what all clients of a run share.
type Env struct {
	Book     *check.Book
	Timeline *measure.Timeline
	Shards   *measure.Shards
	Faults   Faults
	Addrs    []string // of the nodes' client ports
	Password string
	Slots    []Slots // of the shards
	Seed     uint64
}

// Slots is the run of hash slots of a shard.
type Slots struct {
	Shard       uint32
	First, Last int
}

// Faults tells which of what is seen may be due to a fault.
type Faults interface {
	// Calm reports whether a node was running and clients could reach it all the time.
	Calm(node int, from, to time.Duration) bool
	// Clocks reports whether idle times can be compared with the run's clock.
	Clocks() bool
}

// Timeouts of clients. A call that takes longer has an unknown outcome: its client
// turns to another node.
const (
	dialTimeout  = 700 * time.Millisecond
	replyTimeout = 3 * time.Second
	// hangSlack is how much longer than its BLOCK time a call may take (G9).
	hangSlack = 2 * time.Second
	// errorPause is how long a client waits after an error.
	errorPause = 30 * time.Millisecond
)

// session is a client that turns to another node after a failure. One goroutine uses it.
type session struct {
	env  *Env
	at   int // node
	only bool
	opt  client.Options
	conn *client.Conn
	rng  *rand.Rand
}

func (e *Env) session(id uint64, at int) *session {
	return &session{env: e, at: at % len(e.Addrs), rng: rand.New(rand.NewPCG(e.Seed, id)),
		opt: client.Options{Password: e.Password, Dial: dialTimeout, Reply: replyTimeout}}
}

// get returns a connection, or nil when ctx has ended.
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

// fail turns to another node after a moment.
func (s *session) fail(ctx context.Context) {
	s.drop()
	if !s.only {
		s.at = (s.at + 1) % len(s.env.Addrs)
	}
	sleep(ctx, errorPause)
}

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

// do sends one command and counts it.
func (s *session) do(c *client.Conn, words ...string) (reply, client.Outcome, error) {
	began := time.Now()
	v, outcome, err := c.Do(words...)
	s.count(outcome, time.Since(began), 0)
	return reply{v}, outcome, err
}

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

// name returns a name that begins with prefix and belongs to a shard.
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
