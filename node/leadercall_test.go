package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/call"
	"millrace/placement"
	"millrace/resp"
)

// scripted are nodes that answer calls in a script. An answer of nil keeps silent.
type scripted struct {
	answers map[string][]*call.Result // by node; the last one stays
	asked   []string                  // "node@term", in order
}

// Cancel implements router.Backend; a canceled call stays unanswered.
func (s *scripted) Cancel(string, *call.Call) {}

// Submit implements router.Backend.
func (s *scripted) Submit(node string, c *call.Call) {
	word := node + "@" + string(rune('0'+c.Term))
	s.asked = append(s.asked, word)
	all := s.answers[node]
	if len(all) == 0 {
		c.Done(call.Result{Err: call.ErrNotSent})
		return
	}
	if len(all) > 1 {
		s.answers[node] = all[1:]
	}
	if c.Term == 0 && all[0] != nil && all[0].Err == nil {
		c.Done(call.Result{Err: &call.NotLeader{}}) // whoever leads does nothing for term 0
		return
	}
	if all[0] != nil {
		c.Done(*all[0])
	}
}

func TestLeaderCaller(t *testing.T) {
	reply := func(v resp.Value) *call.Result { return &call.Result{Reply: resp.AppendValue(nil, v, 3)} }
	fail := func(err error) *call.Result { return &call.Result{Err: err} }
	moved := func(node string, term uint64) *call.Result { return fail(&call.NotLeader{Leader: node, Term: term}) }
	ok := reply(resp.Int(7))
	for _, tc := range []struct {
		name    string
		leader  string // believed at first, in term 1
		hosts   []string
		answers map[string][]*call.Result
		want    string   // in the error; empty: the reply
		is      error    // of the error
		asked   []string // all calls, if given
		within  time.Duration
	}{
		{name: "the leader answers", leader: "a", hosts: []string{"a", "b"},
			answers: map[string][]*call.Result{"a": {ok}}, asked: []string{"a@1"}},
		{name: "a refusal is an error, and final", leader: "a",
			answers: map[string][]*call.Result{"a": {reply(resp.Err("ERR no"))}}, want: "ERR no", asked: []string{"a@1"}},
		{name: "it has moved", leader: "a", hosts: []string{"a", "b"},
			answers: map[string][]*call.Result{"a": {moved("b", 2)}, "b": {ok}}, asked: []string{"a@1", "b@2"}},
		{name: "nobody is known, and the second host knows", hosts: []string{"b", "c"},
			answers: map[string][]*call.Result{"b": {fail(call.ErrNoShard)}, "c": {moved("a", 3)}, "a": {ok}},
			asked:   []string{"b@0", "c@0", "a@3"}},
		{name: "the leader is gone, and a host that hangs does not keep the others", leader: "a", hosts: []string{"b", "c"},
			answers: map[string][]*call.Result{"b": {nil}, "c": {moved("c", 2), ok}},
			asked:   []string{"a@1", "b@0", "c@0", "c@2"}, within: time.Second},
		{name: "in doubt is not repeated", leader: "a", hosts: []string{"a", "b"},
			answers: map[string][]*call.Result{"a": {fail(call.ErrInDoubt), ok}}, want: "unknown", is: call.ErrInDoubt, asked: []string{"a@1"}},
		{name: "in doubt after a move is not repeated", leader: "a", hosts: []string{"b"},
			answers: map[string][]*call.Result{"a": {moved("b", 2)}, "b": {fail(call.ErrInDoubt), ok}}, is: call.ErrInDoubt, asked: []string{"a@1", "b@2"}},
		{name: "no answer in time is in doubt", leader: "a", hosts: []string{"b"},
			answers: map[string][]*call.Result{"a": {nil}}, is: call.ErrInDoubt, asked: []string{"a@1"}, within: leaderCallTimeout + time.Second},
		{name: "a reply that cannot be read was done", leader: "a",
			answers: map[string][]*call.Result{"a": {{Reply: []byte("?")}, ok}}, is: call.ErrInDoubt, asked: []string{"a@1"}},
		{name: "too large is final", leader: "a",
			answers: map[string][]*call.Result{"a": {fail(call.ErrTooLarge), ok}}, is: call.ErrTooLarge, asked: []string{"a@1"}},
		{name: "overloaded is tried again", leader: "a", hosts: []string{"a"},
			answers: map[string][]*call.Result{"a": {fail(call.ErrOverloaded), fail(call.ErrOverloaded), ok}}, within: time.Second},
		{name: "nobody leads", hosts: []string{"b"},
			answers: map[string][]*call.Result{"b": {fail(&call.NotLeader{})}}, want: "leader is unknown", within: leaderCallTimeout + time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := &scripted{answers: tc.answers}
				leaders := placement.NewLeaders()
				if tc.leader != "" {
					leaders.Learn(1, tc.leader, 1)
				}
				l := &leaderCaller{
					backend: nodes, leaders: routerLeaders{leaders},
					nodesToAsk: func(uint32) []string { return tc.hosts },
				}
				began := time.Now()
				v, err := l.do(context.Background(), 1, call.Write, []byte("X"))
				switch {
				case tc.want == "" && tc.is == nil:
					if err != nil || v.Int != 7 {
						t.Errorf("%v, %v", v, err)
					}
				case err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is):
					t.Errorf("%v, want %q and %v", err, tc.want, tc.is)
				}
				if tc.asked != nil && !slices.Equal(nodes.asked, tc.asked) {
					t.Errorf("asked %v, want %v", nodes.asked, tc.asked)
				}
				if took := time.Since(began); tc.within > 0 && took > tc.within {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
