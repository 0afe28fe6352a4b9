package shard

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/raftlog/disk"
)

// The state must not depend on how Raft cuts the log into batches, nor on restarts in
// between.
func TestBatchesDoNotMatter(t *testing.T) {
	var logs []*raft.Log
	logs = append(logs, &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{})})
	for i := uint64(2); i < 200; i++ {
		b := appendRecordHeader(nil, recordHeader{origin: 1, seq: i, term: 5, nowMS: int64(1000 - i%7), calls: 2})
		b = appendCall(b, false, [][][]byte{words("APPEND", fmt.Sprint("k", i%4), fmt.Sprint("v", i))})
		b = appendCall(b, true, [][][]byte{words("TAKE", fmt.Sprint("k", i%3)), words("GROW", fmt.Sprint("k", i%4), "3000"), words("NOW")})
		term := uint64(5)
		if i%10 == 0 {
			term = 6 // stored under another term than its author's: skipped
		}
		logs = append(logs, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: b})
	}
	run := func(sizes func(i int) int, applyBytes, reload int) []byte {
		db, err := disk.Open("state", disk.Options{Name: "state", FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		cfg := &Config{ID: 1, LastSlot: 99, Machine: newListMachine(0), State: db.DB, Limits: Limits{ApplyBytes: applyBytes}.withDefaults()}
		s := loadedApplier(cfg)
		for rest, i := logs, 0; len(rest) > 0; i++ {
			n := min(sizes(i), len(rest))
			if out := s.ApplyBatch(rest[:n]); len(out) != n {
				t.Fatalf("%d responses for %d", len(out), n)
			}
			// Once more: records that are applied are skipped.
			s.ApplyBatch(rest[:n])
			rest = rest[n:]
			if reload > 0 && i%reload == 0 {
				s = loadedApplier(cfg)
			}
		}
		if s.halted.Load() || s.now.index != 199 {
			t.Fatalf("halted %v at %d", s.halted.Load(), s.now.index)
		}
		return dumpRange(t, db.DB, s.lo, s.hi)
	}
	want := run(func(int) int { return 1 }, 1, 0)
	if !bytes.Contains(want, []byte("=")) {
		t.Fatal("nothing was written")
	}
	for name, got := range map[string][]byte{
		"all at once":        run(func(int) int { return 1000 }, 0, 0),
		"all, small batches": run(func(int) int { return 1000 }, 10_000, 0),
		"sevens":             run(func(int) int { return 7 }, 0, 0),
		"uneven, restarts":   run(func(i int) int { return 1 + i*i%11 }, 5000, 3),
	} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the state differs\n%s\nwant\n%s", name, cut(got), cut(want))
		}
	}
}

// loadedApplier returns an applier without a replica around it, on the state in
// cfg.State.
func loadedApplier(cfg *Config) *applier {
	c := cfg.offline()
	sh := newShared(&c)
	sh.inflight = newInflight(99)
	a := newApplier(sh, newDigester(sh), nobody{})
	if err := a.load(); err != nil {
		panic(err)
	}
	return a
}

// The shard's clock never goes back, whatever the leaders' clocks do.
func TestClockNeverGoesBack(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	n := c.leader()
	if got := n.mustDo(t, call.Write, "NOW"); got != ":1000000\r\n" {
		t.Fatal(got)
	}
	c.clock.Store(500_000)
	if got := n.mustDo(t, call.Write, "NOW"); got != ":1000000\r\n" {
		t.Fatal(got)
	}
	c.clock.Store(2_000_000)
	if got := n.mustDo(t, call.Read, "NOW"); got != ":2000000\r\n" {
		t.Fatal(got)
	}
	c.clock.Store(1_500_000)
	if got := n.mustDo(t, call.Write, "NOW"); got != ":2000000\r\n" {
		t.Fatalf("a write is earlier than a read before it: %s", got)
	}
	c.converge()
	old := n.id
	c.stop(old)
	c.clock.Store(1)
	n = c.leader()
	if got := n.mustDo(t, call.Write, "NOW"); got != ":2000000\r\n" {
		t.Fatalf("the next leader's clock: %s", got)
	}
}

// A transfer takes far less time than an election. No write in flight is lost or in
// doubt, because they are drained first.
func TestTransfer(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	var stop atomic.Bool
	var acked, refused, doubts atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				_, err := c.leaderNow().do(t, call.Write, "APPEND", "k", fmt.Sprint(w, "-", i))
				switch {
				case err == nil:
					acked.Add(1)
				case call.NotDone(err):
					refused.Add(1)
				default:
					doubts.Add(1)
				}
			}
		})
	}
	for i := range 6 {
		n := c.leader()
		target := c.ids[0]
		if target == n.id {
			target = c.ids[1]
		}
		if i%3 == 2 {
			target = c.ids[2]
		}
		if target == n.id {
			continue
		}
		if err := n.shard.Transfer(background(t), target); err != nil {
			t.Fatalf("transfer %s to %s: %v", n.id, target, err)
		}
		c.eventually("the target leads", func() bool { return c.leader().id == target })
	}
	stop.Store(true)
	wg.Wait()
	if doubts.Load() > 0 {
		t.Fatalf("%d writes in doubt", doubts.Load())
	}
	if acked.Load() == 0 {
		t.Fatal("nothing was written meanwhile")
	}
	got := c.leader().mustDo(t, call.Read, "LEN", "k")
	if want := fmt.Sprintf(":%d\r\n", acked.Load()); got != want {
		t.Fatalf("length %q, acked %q, refused %d", got, want, refused.Load())
	}
	c.converge()
}

// leaderNow returns a node that leads, or any node if none does; calls to that one are
// refused.
func (c *testCluster) leaderNow() *testNode {
	for _, id := range c.ids {
		if n := c.nodes[id]; n.shard.lead.leads() != 0 {
			return n
		}
	}
	return c.nodes[c.ids[0]]
}

// A transfer to a replica that does not answer, or is behind, changes nothing, and the
// leader goes on writing.
func TestTransferRefused(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Timing.Transfer = 300 * time.Millisecond }
	c.startAll()
	n := c.leader()
	var other string
	for _, id := range c.ids {
		if id != n.id {
			other = id
		}
	}
	c.net.isolate(other, c.ids, true, true)
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	err := n.shard.Transfer(background(t), other)
	if !errors.Is(err, ErrNotCaughtUp) {
		t.Fatalf("error %v", err)
	}
	if err := n.shard.Transfer(background(t), "nobody"); !errors.Is(err, ErrMember) {
		t.Fatalf("error %v", err)
	}
	// A transfer that was begun in another term changes nothing either: nobody would
	// release the writes that it holds back.
	if n.shard.writes.pause(n.shard.lead.leads() - 1) {
		t.Fatal("the writes of a term are held back for another")
	}
	if got := n.mustDo(t, call.Write, "APPEND", "k", "w"); got != ":2\r\n" {
		t.Fatalf("reply %q", got)
	}
	// The target answers probes and is caught up, but cannot be told to stand for
	// election. Raft gives up, and takes writes again.
	c.net.isolate(other, c.ids, false, true)
	c.converge()
	c.net.setCut(n.id, other, true)
	if err := n.shard.Transfer(background(t), other); !errors.Is(err, ErrTransfer) {
		t.Fatalf("error %v", err)
	}
	if n.shard.lead.leads() == 0 {
		t.Fatal("the leader is gone")
	}
	if got := n.mustDo(t, call.Write, "APPEND", "k", "x"); got != ":3\r\n" {
		t.Fatalf("reply %q", got)
	}
}

// A leader that is cut off refuses soon. Its proposed writes are in doubt or not done.
// The others go on, and the old leader follows them when it is back.
func TestPartition(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	old := c.leader()
	old.mustDo(t, call.Write, "APPEND", "k", "before")
	c.net.isolate(old.id, c.ids, true, true)

	lost, lostDone := newCall(call.Write, old.shard.lead.leads(), "APPEND", "k", "lost")
	old.shard.Submit(lost)
	read, readDone := newCall(call.Read, old.shard.lead.leads(), "LEN", "k")
	old.shard.Submit(read)
	var moved *call.NotLeader
	if _, err := await(t, readDone); !errors.As(err, &moved) {
		t.Fatalf("a read on a minority: %v", err)
	}
	if _, err := await(t, lostDone); !errors.Is(err, call.ErrInDoubt) {
		t.Fatalf("a write that was proposed on a minority: %v", err)
	}

	var others []string
	for _, id := range c.ids {
		if id != old.id {
			others = append(others, id)
		}
	}
	n := c.leader(others...)
	if got := n.mustDo(t, call.Write, "APPEND", "k", "after"); got != ":2\r\n" {
		t.Fatalf("reply %q", got)
	}
	if _, err := old.do(t, call.Write, "APPEND", "k", "x"); !errors.As(err, &moved) {
		t.Fatalf("a write on the old leader: %v", err)
	}
	c.net.isolate(old.id, c.ids, false, true)
	c.converge()
	if got := values(c.leader().mustDo(t, call.Read, "RANGE", "k")); fmt.Sprint(got) != "[before after]" {
		t.Fatalf("values %v", got)
	}
	if p := raftPreVote(n); !p {
		t.Fatal("pre-vote is off")
	}
}

// raftPreVote reports whether the instance has a transport that can pre-vote, and a
// configuration that does not forbid it.
func raftPreVote(n *testNode) bool {
	inst := n.shard.supervisor.current.Load()
	_, ok := any(inst.trans).(raft.WithPreVote)
	return ok && !raftConfig(n.shard.cfg).PreVoteDisabled
}

// NewRaft gets the configuration, the log and the transport that the package promises.
func TestRaftConfig(t *testing.T) {
	cfg, err := Config{NodeID: "a"}.check()
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	c := raftConfig(&cfg)
	if err := raft.ValidateConfig(c); err != nil {
		t.Fatal(err)
	}
	if !c.BatchApplyCh || c.ShutdownOnRemove || !c.NoSnapshotRestoreOnStart || c.RestoreCommittedLogs ||
		!c.NoLegacyTelemetry || c.PreVoteDisabled || c.LeaderLeaseTimeout != c.HeartbeatTimeout ||
		c.HeartbeatTimeout != time.Second || c.CommitTimeout != time.Second || c.ProtocolVersion != 3 {
		t.Fatalf("%+v", c)
	}
	if _, err := newEndpoint(noPreVote{}, nil, nil, nil); !errors.Is(err, ErrConfig) {
		t.Fatalf("a transport without pre-vote: %v", err)
	}
	var l raft.LogStore = &watchedLog{}
	if m, ok := l.(raft.MonotonicLogStore); ok && m.IsMonotonic() {
		t.Fatal("the log says that it is monotonic")
	}
}

type noPreVote struct{ raft.Transport }

// hungLog is a log whose writes wait while it hangs.
type hungLog struct {
	LogStore
	gate atomic.Pointer[chan struct{}]
}

func (h *hungLog) StoreLogs(l []*raft.Log) error {
	if g := h.gate.Load(); g != nil {
		<-*g
	}
	return h.LogStore.StoreLogs(l)
}
func (h *hungLog) StoreLog(l *raft.Log) error { return h.StoreLogs([]*raft.Log{l}) }

// hang makes writes wait until the returned function is called, or t ends.
func (h *hungLog) hang(t *testing.T) func() {
	g := make(chan struct{})
	h.gate.Store(&g)
	resume := sync.OnceFunc(func() { h.gate.Store(nil); close(g) })
	t.Cleanup(resume)
	return resume
}

// A process that was stopped, or whose disk hangs, still believes that it leads after the
// others have elected another leader. Its peers answer its polls, and it must not answer
// reads from its own state.
func TestReadsOnStaleLeader(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	logs := map[string]*hungLog{}
	c.wrapLog = func(id string, l LogStore) LogStore {
		logs[id] = &hungLog{LogStore: l}
		return logs[id]
	}
	c.tune = func(_ string, cfg *Config) { cfg.Timing.LogStall = time.Hour }
	c.startAll()
	for round := range 5 {
		key := fmt.Sprint("k", round)
		var old *testNode
		c.eventually("a leader takes a write", func() bool { // on a busy machine it may lose the leadership first
			old = c.leader()
			_, err := old.do(t, call.Write, "APPEND", key, "1")
			return err == nil
		})
		term := old.shard.lead.leads()
		// Its main loop hangs in a write, so that it cannot step down.
		resume := logs[old.id].hang(t)
		hung, hungDone := newCall(call.Write, term, "APPEND", key, "hung")
		old.shard.Submit(hung)
		c.eventually("the write hangs", func() bool { return old.shard.LogStalled() > 0 })
		c.net.isolate(old.id, c.ids, true, false) // but its probes get through
		var others []string
		for _, id := range c.ids {
			if id != old.id {
				others = append(others, id)
			}
		}
		n := c.leader(others...)
		n.mustDo(t, call.Write, "APPEND", key, "2")
		if old.shard.supervisor.current.Load().raft.State() != raft.Leader || old.shard.lead.leads() != term {
			t.Fatal("the old leader knows already: the test shows nothing")
		}
		read, done := newCall(call.Read, term, "RANGE", key)
		old.shard.Submit(read)
		wait, waitDone := newCall(call.Block, term, "AFTER", key, "1")
		wait.BlockMS = 50
		old.shard.Submit(wait)
		var moved *call.NotLeader
		if out, err := await(t, done); !errors.As(err, &moved) {
			t.Fatalf("the old leader read %q, %v", out, err)
		}
		if out, err := await(t, waitDone); !errors.As(err, &moved) {
			t.Fatalf("the old leader let a call wait: %q, %v", out, err)
		}
		resume()
		c.net.isolate(old.id, c.ids, false, true)
		if _, err := await(t, hungDone); err == nil || call.NotDone(err) {
			t.Fatalf("the hung write: %v", err)
		}
		c.converge()
	}
}

// A leader whose log does not answer gives up: its transport goes silent, another replica
// leads, and it comes back when the disk does.
func TestLogStall(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	logs := map[string]*hungLog{}
	c.wrapLog = func(id string, l LogStore) LogStore {
		logs[id] = &hungLog{LogStore: l}
		return logs[id]
	}
	c.tune = func(_ string, cfg *Config) { cfg.Timing.LogStall = 200 * time.Millisecond }
	c.startAll()
	old := c.leader()
	old.mustDo(t, call.Write, "APPEND", "k", "1")
	resume := logs[old.id].hang(t)
	hung, hungDone := newCall(call.Write, old.shard.lead.leads(), "APPEND", "k", "hung")
	old.shard.Submit(hung)
	c.eventually("the write hangs", func() bool { return old.shard.LogStalled() > 0 })
	queued, queuedDone := newCall(call.Read, old.shard.lead.leads(), "LEN", "k")
	old.shard.Submit(queued)
	await(t, queuedDone) // answered or refused, but not forgotten
	var others []string
	for _, id := range c.ids {
		if id != old.id {
			others = append(others, id)
		}
	}
	n := c.leader(others...)
	n.mustDo(t, call.Write, "APPEND", "k", "2")
	// The hung write is answered while the disk still hangs.
	if _, err := await(t, hungDone); !errors.Is(err, call.ErrInDoubt) {
		t.Fatalf("the hung write: %v", err)
	}
	if p := old.shard.Probe(); !p.Hosted || p.Term != 0 {
		t.Fatalf("a replica without Raft says %+v", p)
	}
	resume()
	c.converge()
	if old.shard.Status().Restarts == 0 {
		t.Fatal("no restart")
	}
}

// A new leader's message names the last common record and the commit index, and carries
// no records. It must not commit the further records of the follower, which is an old
// leader.
func TestCommitIsNotBeyondWhatWasShown(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	old := c.leader()
	old.mustDo(t, call.Write, "APPEND", "k", "1")
	c.converge()
	last := old.shard.Probe().LastIndex
	c.net.isolate(old.id, c.ids, true, true)
	alone, aloneDone := newCall(call.Write, old.shard.lead.leads(), "APPEND", "k", "alone")
	old.shard.Submit(alone)
	c.eventually("the old leader has a record alone", func() bool { return old.shard.Probe().LastIndex > last })
	n := c.leader(c.others(old.id)...)
	n.mustDo(t, call.Write, "APPEND", "k", "2")
	if _, err := await(t, aloneDone); err == nil || call.NotDone(err) {
		t.Fatalf("the write of a leader alone: %v", err)
	}

	var common raft.Log
	if err := n.log.Store(testShard).GetLog(last, &common); err != nil {
		t.Fatal(err)
	}
	// The message bypasses the network, on which the new leader would set the log right
	// first.
	past := newTestNet()
	past.endpoints[old.id] = c.net.endpoints[old.id]
	e, err := newEndpoint(past.endpoint(n.id), newRetention(newStopwatch(), 0), n.shard.news, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := n.shard.supervisor.current.Load().raft
	var resp raft.AppendEntriesResponse
	if err := e.AppendEntries(raft.ServerID(old.id), raft.ServerAddress(old.id), &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(n.id), Addr: []byte(n.id)}, Term: r.CurrentTerm(),
		PrevLogEntry: last, PrevLogTerm: common.Term, LeaderCommitIndex: r.CommitIndex(),
	}, &resp); err != nil || !resp.Success {
		t.Fatalf("%+v, %v", resp, err)
	}
	c.net.isolate(old.id, c.ids, false, true)
	n.mustDo(t, call.Write, "APPEND", "k", "3")
	c.converge()
}

// A restarted instance goes on, and everything else of the shard is as it was.
func TestRestartInstance(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	for i := range 5 {
		n := c.leader()
		n.mustDo(t, call.Write, "APPEND", "k", fmt.Sprint(i))
		start := time.Now()
		before := n.shard.Status().Restarts
		n.shard.Restart()
		c.eventually("the instance is new", func() bool { return n.shard.Status().Restarts > before })
		c.eventually("it runs", func() bool { return n.shard.supervisor.current.Load() != nil })
		if took := time.Since(start); took > time.Second {
			t.Fatalf("the restart took %v", took)
		}
	}
	if got := c.leader().mustDo(t, call.Read, "LEN", "k"); got != ":5\r\n" {
		t.Fatalf("reply %q", got)
	}
	c.converge()
}

// A record that cannot be applied halts the shard on every replica, and nothing else. Its
// calls are in doubt, later ones are refused, and the process lives.
func TestHalt(t *testing.T) {
	for _, poison := range []string{"FAIL", "PANIC"} {
		t.Run(poison, func(t *testing.T) {
			c := newTestCluster(t, "a", "b", "c")
			c.startAll()
			n := c.leader()
			n.mustDo(t, call.Write, "APPEND", "k", "v")
			c.converge()
			before := n.dump(t)
			_, err := n.do(t, call.Write, poison)
			if !errors.Is(err, call.ErrInDoubt) {
				t.Fatalf("the poison: %v", err)
			}
			// The next leader halts too. The third cannot be elected, and does not learn that
			// the record is committed.
			c.eventually("a majority is halted", func() bool {
				halted := 0
				for _, id := range c.ids {
					if c.nodes[id].shard.Status().State == "halted" {
						halted++
					}
				}
				return halted >= 2
			})
			for _, id := range c.ids {
				if st := c.nodes[id].shard.Status(); st.State == "halted" {
					c.eventually("writes are refused", func() bool {
						_, err := c.nodes[id].do(t, call.Write, "APPEND", "k", "w")
						return errors.Is(err, call.ErrStopping)
					})
					if st.Halted == "" {
						t.Fatalf("%+v", st)
					}
				}
				if got := c.nodes[id].dump(t); !bytes.Equal(listKeys(before), listKeys(got)) {
					t.Fatalf("the state changed\n%s\n%s", before, got)
				}
			}
			// The replica is halted after a restart too.
			c.stop(n.id)
			s := c.start(n.id)
			c.eventually("still halted, or without a leader", func() bool { st := s.Status().State; return st != "leader" })
		})
	}
}

// listKeys returns a dump without the applied index.
func listKeys(dump []byte) []byte {
	if j := bytes.Index(dump, []byte("0000ffff61=")); j >= 0 {
		i := j + bytes.IndexByte(dump[j:], '\n')
		return append(bytes.Clone(dump[:j]), dump[i+1:]...)
	}
	return dump
}

// An unknown record format halts too.
func TestUnknownFormat(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	n := c.leader()
	inst := n.shard.supervisor.current.Load()
	inst.raft.Apply([]byte{99, 1, 2, 3}, 0)
	c.eventually("halted", func() bool { return n.shard.Status().State == "halted" })
	if errs := n.shard.Status().Halted; !bytes.Contains([]byte(errs), []byte("format 99")) {
		t.Fatal(errs)
	}
}
