package workload

import (
	"context"
	"strconv"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// tailCount is how many entries a tail reads at once.
const tailCount = 200

// tail reads streams from their start on, in turn, through whichever node.
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

// look asks one node again and again for the last entry of streams, and how far their
// groups are: a node that does not know that it has been replaced would answer an older
// one.
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
