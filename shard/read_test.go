package shard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

// answersProber answers as it is told. Other nodes never answer.
type answersProber map[string]call.Probe

func (p answersProber) Probe(ctx context.Context, node string, _ uint32) (call.Probe, error) {
	switch a, ok := p[node]; {
	case !ok:
		<-ctx.Done()
		return call.Probe{}, ctx.Err()
	case a == call.Probe{}:
		return a, errors.New("unreachable")
	default:
		return a, nil
	}
}

// fakeRaft answers the questions that a read index asks of Raft.
type fakeRaft struct {
	term  uint64
	state raft.RaftState
	conf  raft.Configuration
}

func (f fakeRaft) CommitIndex() uint64                        { return 1 }
func (f fakeRaft) CurrentTerm() uint64                        { return f.term }
func (f fakeRaft) State() raft.RaftState                      { return f.state }
func (f fakeRaft) GetConfiguration() raft.ConfigurationFuture { return fakeConfig{conf: f.conf} }

type fakeConfig struct {
	raft.ConfigurationFuture
	conf raft.Configuration
}

func (f fakeConfig) Error() error                      { return nil }
func (f fakeConfig) Configuration() raft.Configuration { return f.conf }

// A leader needs a majority of the voters, itself included, that know no later term.
func TestPoll(t *testing.T) {
	at := func(term uint64) call.Probe { return call.Probe{Hosted: true, Term: term} }
	servers := func(voters string, nonvoters string) (c raft.Configuration) {
		for _, v := range voters {
			c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(v), Suffrage: raft.Voter})
		}
		for _, v := range nonvoters {
			c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(v), Suffrage: raft.Nonvoter})
		}
		return c
	}
	leader := func(voters, nonvoters string) fakeRaft { return fakeRaft{5, raft.Leader, servers(voters, nonvoters)} }
	for _, c := range []struct {
		name  string
		raft  fakeRaft
		peers answersProber
		want  bool
	}{
		{"alone", leader("a", ""), nil, true},
		{"alone, with a non-voter", leader("a", "b"), nil, true},
		{"one of two agrees", leader("abc", ""), answersProber{"b": at(5)}, true},
		{"in an older term still", leader("abc", ""), answersProber{"b": at(4)}, true},
		{"one agrees, one knows better", leader("abc", ""), answersProber{"b": at(6), "c": at(5)}, true},
		{"both know better", leader("abc", ""), answersProber{"b": at(6), "c": at(7)}, false},
		{"nobody answers", leader("abc", ""), nil, false},
		{"nobody can be reached", leader("abc", ""), answersProber{"b": {}, "c": {}}, false},
		{"no replica there", leader("abc", ""), answersProber{"b": {Term: 5}, "c": {Term: 5}}, false},
		{"no raft runs there", leader("abc", ""), answersProber{"b": at(0), "c": at(0)}, false},
		{"only non-voters agree", leader("abc", "xy"), answersProber{"x": at(5), "y": at(5)}, false},
		{"two of five are too few", leader("abcde", ""), answersProber{"b": at(5), "c": {}, "d": {}, "e": {}}, false},
		{"three of five are enough", leader("abcde", ""), answersProber{"b": at(5), "c": {}, "d": at(3), "e": {}}, true},
		{"two of four are too few", leader("abcd", ""), answersProber{"b": at(5), "c": {}, "d": {}}, false},
		{"not a voter itself", leader("bc", "a"), answersProber{"b": at(5), "c": at(5)}, false},
		{"not a leader", fakeRaft{5, raft.Follower, servers("a", "")}, nil, false},
		{"leader of a later term", fakeRaft{6, raft.Leader, servers("a", "")}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &Config{NodeID: "a", Prober: c.peers, Timing: Timing{Probe: 30 * time.Millisecond}}
			sh := newShared(cfg)
			r := newReads(sh, newViewer(sh))
			defer r.cancel()
			if got := r.poll(5, c.raft); got != c.want {
				t.Fatalf("%v", got)
			}
		})
	}
}

// A function that asks for an index while others that waited for it run is run after
// them.
func TestGateKeepsOrder(t *testing.T) {
	var g gate
	var ran []string
	g.when(5, func(error) {
		g.when(5, func(error) { ran = append(ran, "second") })
		ran = append(ran, "first")
	})
	g.advance(4)
	g.advance(5)
	g.when(5, func(error) { ran = append(ran, "third") })
	if !slices.Equal(ran, []string{"first", "second", "third"}) {
		t.Errorf("ran %v", ran)
	}
	g.shut(call.ErrStopping)
	g.when(5, func(err error) {
		if err != call.ErrStopping {
			t.Errorf("after the end: %v", err)
		}
	})
}
