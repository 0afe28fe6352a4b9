package workload

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// xadd returns the words of an XADD, with the options before the trim and the ID.
func xadd(s *check.Stream, t check.Ticket, options ...string) []string {
	words := append([]string{"XADD", s.Name}, options...)
	if s.MaxLen > 0 {
		words = append(words, "MAXLEN", "=", strconv.Itoa(s.MaxLen))
	}
	return append(words, "*", "p", t.Payload, "v", check.Filler(t.Payload))
}

// added settles an XADD by its outcome and reply. prev is the one of check.Stream.Added;
// began is the time when the XADD was sent.
func (s *session) added(st *check.Stream, t check.Ticket, r reply, o client.Outcome, prev *check.ID, began time.Duration) {
	switch {
	case o == client.Unknown:
		st.Unknown(t)
	case o == client.Refused:
		st.Refused(t)
	case r.isError():
		st.Refused(t)
		s.env.Book.Add("reply", "%s: XADD returned %q", st.Name, r.text())
	default:
		id, ok := check.ParseID(r.text())
		if !ok {
			s.env.Book.Add("reply", "%s: XADD returned %v", st.Name, r.v)
			return
		}
		st.Added(t, id, prev)
		s.env.Shards.Acked(st.Shard, began)
	}
}

// probe adds an entry every probeEvery through one node. Each shard has a probe through
// each node, so that the time without writes can be measured whichever node is down.
func (e *Era) probe(ctx context.Context, id uint64, node int, st *check.Stream) {
	s := e.env.session(id, node)
	s.only = true
	s.opt.Reply = time.Second
	defer s.drop()
	// The probes of a shard take turns.
	sleep(ctx, probeEvery*time.Duration(node)/time.Duration(len(e.env.Addrs)))
	for ctx.Err() == nil {
		c := s.get(ctx)
		if c == nil {
			return
		}
		t := st.Begin()
		began, at := e.env.Book.Now(), time.Now()
		v, o, _ := c.Do(xadd(st, t)...)
		s.added(st, t, reply{v}, o, nil, began)
		s.count(o, time.Since(at), one(o))
		if o != client.Replied {
			s.fail(ctx)
			continue
		}
		sleep(ctx, probeEvery-time.Since(at))
	}
}

// one returns the acknowledged XADDs of an XADD: 1 for a reply, else 0.
func one(o client.Outcome) int {
	if o == client.Replied {
		return 1
	}
	return 0
}

// pour pipelines XADDs, depth at a time, at a rate of entries a second. run entries in a
// row go to the same stream: with run 4, entries 0 to 3 go to the first, 4 to 7 to the next.
func (e *Era) pour(ctx context.Context, id uint64, streams []*check.Stream, depth, run int, rate float64) {
	s := e.env.session(id, int(id))
	defer s.drop()
	prev := make([]check.ID, len(streams)) // the last ID acknowledged on this connection
	tickets := make([]check.Ticket, depth)
	words := make([][]string, depth)
	for n := 0; ctx.Err() == nil; n += depth {
		c := s.get(ctx)
		if c == nil {
			return
		}
		at := func(i int) int { return (n + i) / run % len(streams) }
		for i := range depth {
			tickets[i] = streams[at(i)].Begin()
			words[i] = xadd(streams[at(i)], tickets[i])
		}
		began, sent := e.env.Book.Now(), time.Now()
		_ = c.Send(words...) // Receive returns the error
		failed := false
		for i := range depth {
			v, o, _ := c.Receive()
			s.added(streams[at(i)], tickets[i], reply{v}, o, &prev[at(i)], began)
			s.count(o, time.Since(sent), one(o))
			failed = failed || o != client.Replied
		}
		if failed {
			clear(prev) // S8 holds within one connection only
			s.fail(ctx)
			continue
		}
		sleep(ctx, time.Duration(float64(depth)/rate*float64(time.Second))-time.Since(sent))
	}
}

// insist adds entries with an idempotency token, and repeats each one on any node until
// there is a reply. The token makes repeating safe.
func (e *Era) insist(ctx context.Context, id uint64, streams []*check.Stream) {
	s := e.env.session(id, int(id))
	defer s.drop()
	for n := 0; ctx.Err() == nil; n++ {
		st := streams[n%len(streams)]
		t := st.Begin()
		words := xadd(st, t, "IDMP", fmt.Sprintf("%d-%d", e.number, id), strconv.Itoa(n))
		sentOnce := false
		for {
			c := s.get(ctx)
			if c == nil {
				if sentOnce {
					st.Unknown(t)
				} else {
					st.Refused(t)
				}
				return
			}
			began, at := e.env.Book.Now(), time.Now()
			v, o, _ := c.Do(words...)
			s.count(o, time.Since(at), one(o))
			if o == client.Replied {
				s.added(st, t, reply{v}, o, nil, began)
				break
			}
			sentOnce = sentOnce || o == client.Unknown
			s.fail(ctx)
		}
		sleep(ctx, insistEvery)
	}
}

// trim adds to streams that every XADD trims. Instead of every seventh XADD it deletes an
// entry among the last tenth.
func (e *Era) trim(ctx context.Context, id uint64, streams []*check.Stream) {
	s := e.env.session(id, int(id))
	defer s.drop()
	for n := 0; ctx.Err() == nil; n++ {
		c := s.get(ctx)
		if c == nil {
			return
		}
		st := streams[n%len(streams)]
		if n%7 == 6 {
			if payload, del, ok := st.Known(1 - s.rng.Float64()*0.1); ok {
				st.Gone(payload)
				if _, o, _ := s.do(c, "XDEL", st.Name, del.String()); o != client.Replied {
					s.fail(ctx)
				}
				continue
			}
		}
		t := st.Begin()
		began, at := e.env.Book.Now(), time.Now()
		v, o, _ := c.Do(xadd(st, t)...)
		s.added(st, t, reply{v}, o, nil, began)
		s.count(o, time.Since(at), one(o))
		if o != client.Replied {
			s.fail(ctx)
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// twins adds two entries at a time, in a transaction.
func (e *Era) twins(ctx context.Context, id uint64, streams []*check.Stream) {
	s := e.env.session(id, int(id))
	defer s.drop()
	for n := 0; ctx.Err() == nil; n++ {
		c := s.get(ctx)
		if c == nil {
			return
		}
		st := streams[n%len(streams)]
		a, b := st.BeginTwins()
		began, at := e.env.Book.Now(), time.Now()
		_ = c.Send([]string{"MULTI"}, xadd(st, a), xadd(st, b), []string{"EXEC"}) // Receive returns the error
		var v reply
		var o client.Outcome
		for range 4 {
			last, outcome, _ := c.Receive()
			v, o = reply{last}, outcome
		}
		switch {
		case o == client.Replied && v.len() == 2 && !v.at(0).isError() && !v.at(1).isError():
			s.added(st, a, v.at(0), o, nil, began)
			s.added(st, b, v.at(1), o, nil, began)
			s.count(o, time.Since(at), 2)
		case o == client.Unknown:
			st.Unknown(a)
			st.Unknown(b)
			s.count(o, 0, 0)
		default:
			st.Refused(a)
			st.Refused(b)
			s.count(client.Refused, 0, 0)
			if o == client.Replied {
				e.env.Book.Add("reply", "%s: EXEC returned %v", st.Name, v.v)
			}
		}
		if o != client.Replied {
			s.fail(ctx)
		}
		sleep(ctx, twinsEvery)
	}
}
