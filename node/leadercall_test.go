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

// scripted is a backend whose nodes answer from a script.
type scripted struct {
	answers map[string][]*call.Result // by node; the last is repeated; nil: no answer
	asked   []string                  // the calls in order, as "node@term"
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
		c.Done(call.Result{Err: &call.NotLeader{}}) // a leader refuses a call in term 0
		return
	}
	if all[0] != nil {
		c.Done(*all[0])
	}
}

func replyOf(v resp.Value) *call.Result {
	return &call.Result{Reply: resp.AppendValue(nil, v, 3)}
}

func failure(err error) *call.Result { return &call.Result{Err: err} }

// moved is the answer of a node that knows another leader.
func moved(node string, term uint64) *call.Result {
	return failure(&call.NotLeader{Leader: node, Term: term})
}

var okReply = replyOf(resp.Int(7))

var leaderCallerCases = []struct {
	name    string
	leader  string   // the node believed at first to lead in term 1; empty: none
	ask     []string // result of nodesToAsk
	answers map[string][]*call.Result
	want    string   // expected text of the error; empty: okReply is expected
	is      error    // expected error
	asked   []string // expected calls; nil: not checked
	within  time.Duration
}{
	{name: "the leader answers", leader: "a", ask: []string{"a", "b"},
		answers: map[string][]*call.Result{"a": {okReply}}, asked: []string{"a@1"}},
	{name: "an error reply is returned and not repeated", leader: "a",
		answers: map[string][]*call.Result{"a": {replyOf(resp.Err("ERR no"))}}, want: "ERR no", asked: []string{"a@1"}},
	{name: "the leadership has moved", leader: "a", ask: []string{"a", "b"},
		answers: map[string][]*call.Result{"a": {moved("b", 2)}, "b": {okReply}}, asked: []string{"a@1", "b@2"}},
	{name: "no leader is known, and the second node knows one", ask: []string{"b", "c"},
		answers: map[string][]*call.Result{"b": {failure(call.ErrNoShard)}, "c": {moved("a", 3)}, "a": {okReply}},
		asked:   []string{"b@0", "c@0", "a@3"}},
	{name: "the leader is gone, and a node that hangs does not delay the others for long", leader: "a", ask: []string{"b", "c"},
		answers: map[string][]*call.Result{"b": {nil}, "c": {moved("c", 2), okReply}},
		asked:   []string{"a@1", "b@0", "c@0", "c@2"}, within: time.Second},
	{name: "a call in doubt is not repeated", leader: "a", ask: []string{"a", "b"},
		answers: map[string][]*call.Result{"a": {failure(call.ErrInDoubt), okReply}}, want: "unknown", is: call.ErrInDoubt, asked: []string{"a@1"}},
	{name: "a call in doubt after a move is not repeated", leader: "a", ask: []string{"b"},
		answers: map[string][]*call.Result{"a": {moved("b", 2)}, "b": {failure(call.ErrInDoubt), okReply}}, is: call.ErrInDoubt, asked: []string{"a@1", "b@2"}},
	{name: "no answer in time is in doubt", leader: "a", ask: []string{"b"},
		answers: map[string][]*call.Result{"a": {nil}}, is: call.ErrInDoubt, asked: []string{"a@1"}, within: leaderCallTimeout + time.Second},
	{name: "an unreadable reply is in doubt", leader: "a",
		answers: map[string][]*call.Result{"a": {{Reply: []byte("?")}, okReply}}, is: call.ErrInDoubt, asked: []string{"a@1"}},
	{name: "a call that is too large is not repeated", leader: "a",
		answers: map[string][]*call.Result{"a": {failure(call.ErrTooLarge), okReply}}, is: call.ErrTooLarge, asked: []string{"a@1"}},
	{name: "an overloaded leader is tried again", leader: "a", ask: []string{"a"},
		answers: map[string][]*call.Result{"a": {failure(call.ErrOverloaded), failure(call.ErrOverloaded), okReply}}, within: time.Second},
	{name: "nobody leads", ask: []string{"b"},
		answers: map[string][]*call.Result{"b": {failure(&call.NotLeader{})}}, want: "leader is unknown", within: leaderCallTimeout + time.Second},
}

func TestLeaderCaller(t *testing.T) {
	for _, tc := range leaderCallerCases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := &scripted{answers: tc.answers}
				leaders := placement.NewLeaders()
				if tc.leader != "" {
					leaders.Learn(1, tc.leader, 1)
				}
				l := &leaderCaller{
					backend: nodes, leaders: routerLeaders{leaders},
					nodesToAsk: func(uint32) []string { return tc.ask },
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
