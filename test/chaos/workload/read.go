package workload

import (
	"context"
	"strconv"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// tailCount is the COUNT of a tail's reads.
const tailCount = 200

// tail reads streams from their start on, one after another, through any node.
func (e *Era) tail(ctx context.Context, id uint64, streams []*check.Stream) {
	s := e.env.session(id, int(id))
	defer s.drop()
	tails := make([]*check.Tail, len(streams))
	for i, st := range streams {
		tails[i] = st.NewTail()
	}
	for n := 0; ctx.Err() == nil; n++ {
		c := s.get(ctx)
		if c == nil {
			return
		}
		st, t := streams[n%len(streams)], tails[n%len(streams)]
		floor := st.Floor()
		words := []string{"XRANGE", st.Name, "(" + t.Last().String(), "+", "COUNT", strconv.Itoa(tailCount)}
		if n%3 == 2 {
			words = []string{"XREAD", "COUNT", strconv.Itoa(tailCount), "STREAMS", st.Name, t.Last().String()}
		}
		r, o, _ := s.do(c, words...)
		if o != client.Replied {
			s.fail(ctx)
			continue
		}
		entries := r
		if n%3 == 2 {
			entries = r.at(0).at(1)
		}
		items := entries.items()
		t.Read(items, len(items) < tailCount, floor)
		if len(items) < tailCount {
			sleep(ctx, tailEvery)
		}
	}
}

// look asks one node again and again for the last entry of a stream and the position of
// its group. A deposed leader that does not know of its successor would return old ones.
func (e *Era) look(ctx context.Context, id uint64, node int, streams []*check.Stream) {
	s := e.env.session(id, node)
	s.only = true
	defer s.drop()
	for ctx.Err() == nil {
		c := s.get(ctx)
		if c == nil {
			return
		}
		st := streams[s.rng.IntN(len(streams))]
		floor := st.Floor()
		r, o, _ := s.do(c, "XREVRANGE", st.Name, "+", "-", "COUNT", "1")
		if o != client.Replied {
			s.fail(ctx)
			continue
		}
		st.Last(r.at(0).at(0).id(), floor, "XREVRANGE")
		if st.Group != "" {
			before := st.Position()
			r, o, _ := s.do(c, "XINFO", "GROUPS", st.Name)
			if o == client.Replied && r.len() == 1 {
				st.ReadPosition(r.at(0).field("last-delivered-id").id(), before)
			}
		}
		sleep(ctx, lookEvery)
	}
}

// lag moves the groups of trimmed streams forward in steps of random size, and checks
// their lag after each step. Deletes and trims meanwhile are the hard cases of the rule.
func (e *Era) lag(ctx context.Context, id uint64, streams []*check.Stream) {
	s := e.env.session(id, int(id))
	defer s.drop()
	for n := 0; ctx.Err() == nil; n++ {
		c := s.get(ctx)
		if c == nil {
			return
		}
		st := streams[n%len(streams)]
		// Small steps let the trims overtake the group; the largest takes it to the end.
		count := []int{1, 7, 40, 1000}[s.rng.IntN(4)]
		_, o, _ := s.do(c, "XREADGROUP", "GROUP", groupName, "lag", "COUNT", strconv.Itoa(count), "NOACK", "STREAMS", st.Name, ">")
		if o == client.Replied {
			o = s.readLag(c, st)
		}
		if o != client.Replied {
			s.fail(ctx)
			continue
		}
		sleep(ctx, lagEvery)
	}
}

// readLag reads a stream's entries, its XINFO and its group's in one transaction, and
// checks the group's lag.
func (s *session) readLag(c *client.Conn, st *check.Stream) client.Outcome {
	_ = c.Send([]string{"MULTI"}, []string{"XINFO", "STREAM", st.Name}, []string{"XINFO", "GROUPS", st.Name},
		[]string{"XRANGE", st.Name, "-", "+"}, []string{"EXEC"}) // Receive returns the error
	var exec reply
	var o client.Outcome
	for range 5 {
		v, outcome, _ := c.Receive()
		exec, o = reply{v}, outcome
	}
	if o != client.Replied {
		return o
	}
	if exec.len() != 3 || exec.at(0).isError() || exec.at(1).len() != 1 {
		s.env.Book.Add("reply", "%s: EXEC of XINFO returned %v", st.Name, exec.v)
		return o
	}
	p := progress("in a transaction", exec.at(0), exec.at(1).at(0))
	for _, it := range exec.at(2).items() {
		if p.Position.Less(it.ID) {
			p.Ahead++
		}
	}
	st.CheckLag(p)
	return o
}
