package shard

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/raftlog"
	"millrace/raftlog/disk"
)

// leaderRaft has the role that it is told. Records that are proposed to it go nowhere.
type leaderRaft struct {
	fakeRaft
	leader string
}

func (l leaderRaft) Apply([]byte, time.Duration) raft.ApplyFuture { return nil }
func (l leaderRaft) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	return raft.ServerAddress(l.leader), raft.ServerID(l.leader)
}

// earlyShard is a replica without a Raft instance: its role is the one that is set.
type earlyShard struct {
	*Shard
	role    leaderRaft
	running bool     // whether there is an instance
	heard   []string // from OnLeader: leader and term

	mu       sync.Mutex
	answered map[string]error // guarded by mu; by the name of the call
}

func newEarlyShard(t *testing.T) *earlyShard {
	fs := vfs.NewMem()
	log, err := raftlog.Open("raftlog", raftlog.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	state, err := disk.Open("state", disk.Options{Name: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	e := &earlyShard{answered: map[string]error{}, running: true}
	cfg, err := Config{
		ID: testShard, NodeID: "a", LastSlot: 99, Machine: newListMachine(0), Log: log.Store(testShard), State: state.DB,
		StagingDir: "staging", FS: fs, Transport: func() raft.Transport { return nil }, Prober: answersProber{},
		Clock:    func() int64 { return 1 },
		OnLeader: func(node string, term uint64) { e.heard = append(e.heard, fmt.Sprint(node, term)) },
	}.check()
	if err != nil {
		t.Fatal(err)
	}
	e.Shard = assemble(&cfg)
	e.lead.raft = e
	t.Cleanup(func() { e.reads.cancel(); _ = state.Close(); _ = log.Close() })
	return e
}

// roles implements roleSource.
func (e *earlyShard) roles() raftRole {
	if !e.running {
		return nil
	}
	return e.role
}

// become sets the role that Raft has.
func (e *earlyShard) become(term uint64, state raft.RaftState, leader string) {
	e.role = leaderRaft{fakeRaft{term: term, state: state}, leader}
}

// submit submits a call that appends its own name.
func (e *earlyShard) submit(name string, kind call.Kind, term uint64) *call.Call {
	c := &call.Call{
		Kind: kind, Term: term, Cmds: [][][]byte{words("APPEND", "k", name)}, TimeoutMS: 10_000,
		Done: func(r call.Result) { e.mu.Lock(); e.answered[name] = r.Err; e.mu.Unlock() },
	}
	e.Submit(c)
	return c
}

// wantMoved checks that calls were refused with the hint that leader leads; term 0 is any.
func (e *earlyShard) wantMoved(t *testing.T, leader string, term uint64, names ...string) {
	t.Helper()
	for _, name := range names {
		var moved *call.NotLeader
		if !errors.As(e.answered[name], &moved) || moved.Leader != leader || term != 0 && moved.Term != term {
			t.Fatalf("%s: %v", name, e.answered[name])
		}
	}
}

// A call can come before this replica's supervisor knows that it leads. The call is kept,
// and goes first when its term opens. A call of any other term is refused at once.
func TestEarlyCalls(t *testing.T) {
	s := newEarlyShard(t)
	s.become(5, raft.Follower, "b")
	s.lead.update(s.role)
	s.submit("to a follower", call.Write, 5)
	s.submit("of a term to come", call.Write, 6)
	s.submit("of no term", call.Write, 0)
	s.wantMoved(t, "b", 5, "to a follower", "of a term to come", "of no term")

	// Raft leads, and the supervisor has not looked yet.
	s.become(7, raft.Leader, "a")
	s.submit("w1", call.Write, 7)
	s.submit("r1", call.Read, 7)
	s.submit("old", call.Write, 6)
	left := s.submit("b1", call.Block, 7)
	s.submit("w2", call.Write, 7)
	s.Cancel(left) // its client does not wait for the term
	if !errors.Is(s.answered["b1"], call.ErrCanceled) {
		t.Fatalf("b1: %v", s.answered["b1"])
	}
	var moved *call.NotLeader
	if !errors.As(s.answered["old"], &moved) || len(s.answered) != 5 {
		t.Fatalf("%v", s.answered)
	}
	if len(s.orders.look) != 1 {
		t.Fatal("the supervisor was not told")
	}
	s.lead.update(s.role)
	s.submit("w3", call.Write, 7)
	var got []string
	for _, q := range s.writes.queue {
		got = append(got, string(q.call.Cmds[0][2]))
	}
	if fmt.Sprint(got) != "[w1 w2 w3]" || len(s.reads.queue) != 1 || s.waits.count.Load() != 0 {
		t.Fatalf("writes %v, %d reads, %d blocked", got, len(s.reads.queue), s.waits.count.Load())
	}

	// The term is over before anything was proposed; a new one is won, and lost before
	// the supervisor looks.
	s.become(8, raft.Leader, "a")
	s.submit("w4", call.Write, 8)
	s.become(9, raft.Follower, "c")
	s.lead.update(s.role)
	s.wantMoved(t, "c", 0, "w1", "r1", "w2", "w3", "w4")
	if fmt.Sprint(s.heard) != "[b5 a7 c9]" {
		t.Fatalf("heard of %v", s.heard)
	}
	s.running = false // between two instances
	s.submit("late", call.Write, 9)
	if s.answered["late"] == nil {
		t.Fatal("it was kept")
	}
}
