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

// roleFunc is a roleSource.
type roleFunc func() raftRole

func (f roleFunc) roles() raftRole { return f() }

// A call can come before this replica's supervisor knows that it leads. The call is kept,
// and goes first when its term opens. A call of any other term is refused at once.
func TestEarlyCalls(t *testing.T) {
	fs := vfs.NewMem()
	log, err := raftlog.Open("raftlog", raftlog.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	state, err := disk.Open("state", disk.Options{Name: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	var heard []string
	cfg, err := Config{
		ID: testShard, NodeID: "a", LastSlot: 99, Machine: newListMachine(0), Log: log.Store(testShard), State: state.DB,
		StagingDir: "staging", FS: fs, Transport: func() raft.Transport { return nil }, Prober: answersProber{},
		Clock:    func() int64 { return 1 },
		OnLeader: func(node string, term uint64) { heard = append(heard, fmt.Sprint(node, term)) },
	}.check()
	if err != nil {
		t.Fatal(err)
	}
	s := assemble(&cfg)
	defer s.reads.cancel()
	role := leaderRaft{fakeRaft{term: 5, state: raft.Follower}, "b"}
	running := &role
	s.lead.raft = roleFunc(func() raftRole {
		if running == nil {
			return nil
		}
		return *running
	})

	var mu sync.Mutex
	refused := map[string]error{}
	submit := func(name string, kind call.Kind, term uint64) *call.Call {
		c := &call.Call{
			Kind: kind, Term: term, Cmds: [][][]byte{words("APPEND", "k", name)}, TimeoutMS: 10_000,
			Done: func(r call.Result) { mu.Lock(); refused[name] = r.Err; mu.Unlock() },
		}
		s.Submit(c)
		return c
	}
	s.lead.update(role)
	submit("to a follower", call.Write, 5)
	submit("of a term to come", call.Write, 6)
	submit("of no term", call.Write, 0)
	var moved *call.NotLeader
	for _, name := range []string{"to a follower", "of a term to come", "of no term"} {
		if !errors.As(refused[name], &moved) || moved.Leader != "b" || moved.Term != 5 {
			t.Fatalf("%s: %v", name, refused[name])
		}
	}

	// Raft leads, and the supervisor has not looked yet.
	role = leaderRaft{fakeRaft{term: 7, state: raft.Leader}, "a"}
	submit("w1", call.Write, 7)
	submit("r1", call.Read, 7)
	submit("old", call.Write, 6)
	left := submit("b1", call.Block, 7)
	submit("w2", call.Write, 7)
	s.Cancel(left) // its client does not wait for the term
	if !errors.Is(refused["b1"], call.ErrCanceled) {
		t.Fatalf("b1: %v", refused["b1"])
	}
	delete(refused, "b1")
	if !errors.As(refused["old"], &moved) || len(refused) != 4 {
		t.Fatalf("%v", refused)
	}
	if len(s.orders.look) != 1 {
		t.Fatal("the supervisor was not told")
	}
	s.lead.update(role)
	submit("w3", call.Write, 7)
	var got []string
	for _, q := range s.writes.queue {
		got = append(got, string(q.call.Cmds[0][2]))
	}
	if fmt.Sprint(got) != "[w1 w2 w3]" || len(s.reads.queue) != 1 || s.waits.count.Load() != 0 {
		t.Fatalf("writes %v, %d reads, %d blocked", got, len(s.reads.queue), s.waits.count.Load())
	}

	// The term is over before anything was proposed; a new one is won, and lost before
	// the supervisor looks.
	role = leaderRaft{fakeRaft{term: 8, state: raft.Leader}, "a"}
	submit("w4", call.Write, 8)
	role = leaderRaft{fakeRaft{term: 9, state: raft.Follower}, "c"}
	s.lead.update(role)
	for _, name := range []string{"w1", "r1", "w2", "w3", "w4"} {
		if !errors.As(refused[name], &moved) || moved.Leader != "c" {
			t.Fatalf("%s: %v", name, refused[name])
		}
	}
	if fmt.Sprint(heard) != "[b5 a7 c9]" {
		t.Fatalf("heard of %v", heard)
	}
	running = nil // between two instances
	submit("late", call.Write, 9)
	if refused["late"] == nil {
		t.Fatal("it was kept")
	}
}
