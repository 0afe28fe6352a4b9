package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/kv"
)

// smallLogs returns a tune that makes logs be truncated soon.
func smallLogs(records uint64) func(string, *Config) {
	return func(_ string, cfg *Config) {
		cfg.Limits.LogRecords = records
		cfg.Limits.TrailingRecords = 1
		cfg.Limits.TableBytes = 4 << 10
	}
}

func (c *testCluster) others(id string) []string {
	var out []string
	for _, o := range c.ids {
		if o != id {
			out = append(out, o)
		}
	}
	return out
}

// fill writes n records of size bytes each on the leader among the given nodes.
func (c *testCluster) fill(n, size int, among ...string) {
	c.t.Helper()
	value := strings.Repeat("x", size)
	for i := range n {
		l := c.leader(among...)
		if _, err := l.do(c.t, call.Write, "APPEND", fmt.Sprint("k", i%7), value); err != nil && call.NotDone(err) {
			c.t.Logf("write: %v", err)
		}
	}
}

// truncated waits until a node's log does not hold its first record any more.
func (c *testCluster) truncated(id string, beyond uint64) {
	c.t.Helper()
	c.eventually("the log of "+id+" is truncated", func() bool {
		first, err := c.nodes[id].log.Store(testShard).FirstIndex()
		return err == nil && first > beyond
	})
}

// A follower that was away until the log was truncated catches up by a snapshot, while
// writes go on and stale reads run on it.
func TestCatchUpBySnapshot(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = smallLogs(60)
	c.startAll()
	l := c.leader()
	away := c.others(l.id)[0]
	c.fill(5, 10)
	c.converge()
	c.net.isolate(away, c.ids, true, true)
	c.fill(300, 100, c.others(away)...)
	c.truncated(c.leader(c.others(away)...).id, 20)

	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			if l := c.leaderNow(); l.id != away {
				_, _ = l.do(t, call.Write, "APPEND", "during", fmt.Sprint(i))
			}
		}
	})
	for range 3 {
		wg.Go(func() { c.nodes[away].readStale(t, &stop) })
	}
	c.net.isolate(away, c.ids, false, true)
	n := c.nodes[away]
	c.eventually("a snapshot is installed", func() bool { return n.shard.Status().SnapshotsStaged > 0 })
	c.eventually("it follows", func() bool {
		return n.shard.Probe().Applied > 0 && n.shard.Probe().LastIndex >= c.leaderNow().shard.Probe().LastIndex-1
	})
	stop.Store(true)
	wg.Wait()
	c.leader()
	c.converge()
	if names, err := n.fs.List("staging/7"); err != nil || len(names) > 0 {
		t.Fatalf("staging: %v, %v", names, err)
	}
	// The log begins at the index under which the snapshot was sent, and the state has
	// the same.
	m, ok, err := n.log.Store(testShard).Marker()
	if err != nil || !ok || m.Staged != "" || m.Applied > m.Index {
		t.Fatalf("marker %v, %v, %v", m, ok, err)
	}
	// The data is there after a restart, and the replica works as a leader.
	c.stop(away)
	c.start(away)
	c.converge()
	if err := c.leader().shard.Transfer(background(t), away); err != nil && c.leader().id != away {
		t.Fatal(err)
	}
	c.eventually("it leads", func() bool { return c.leader().id == away })
	c.fill(3, 10)
	c.converge()
}

// readStale reads a list that only grows until stop is set. A read during an install must
// not see half of the list, nor an older one.
func (n *testNode) readStale(t *testing.T, stop *atomic.Bool) {
	last := 0
	for !stop.Load() {
		out, err := n.do(t, call.ReadStale, "RANGE", "k0")
		if err != nil {
			t.Errorf("stale read: %v", err)
			return
		}
		got := len(values(out))
		if got < last {
			t.Errorf("a stale read saw %d values, then %d", last, got)
			return
		}
		last = got
	}
}

// recorded is a copy of a snapshot on its way.
type recorded struct {
	req  raft.InstallSnapshotRequest
	data []byte
}

// record keeps the first snapshot that is sent to a node.
func (c *testCluster) record() func() *recorded {
	var mu sync.Mutex
	var kept *recorded
	c.net.mu.Lock()
	c.net.onInstall = func(_ string, req *raft.InstallSnapshotRequest, data io.Reader) (io.Reader, error) {
		b, err := io.ReadAll(data)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if kept == nil {
			kept = &recorded{*req, b}
		}
		return bytes.NewReader(b), nil
	}
	c.net.mu.Unlock()
	return func() *recorded {
		mu.Lock()
		defer mu.Unlock()
		return kept
	}
}

// behind lets a node fall behind the log and come back by a snapshot, which it returns.
func (c *testCluster) behind(id string) *recorded {
	c.t.Helper()
	kept := c.record()
	c.net.isolate(id, c.ids, true, true)
	c.fill(150, 100, c.others(id)...)
	c.truncated(c.leader(c.others(id)...).id, c.nodes[id].shard.Probe().LastIndex)
	c.net.isolate(id, c.ids, false, true)
	c.eventually("a snapshot is sent", func() bool { return kept() != nil })
	c.converge()
	return kept()
}

// A late duplicate of a snapshot must not take a replica back. The transport answers it
// alone, and if it does not, the shard refuses it.
func TestStaleSnapshot(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = smallLogs(40)
	c.startAll()
	l := c.leader()
	id := c.others(l.id)[0]
	n := c.nodes[id]
	old := c.behind(id)
	c.fill(20, 10)
	c.converge()
	before, at := n.dump(t), n.shard.Probe()
	conf := n.shard.Status().ConfigurationIndex
	send := func() (raft.InstallSnapshotResponse, error) {
		c.net.mu.Lock()
		e := c.net.endpoints[c.leader().id]
		c.net.mu.Unlock()
		req := old.req
		req.Term = n.shard.Probe().Term
		var resp raft.InstallSnapshotResponse
		err := e.InstallSnapshot(raft.ServerID(id), raft.ServerAddress(id), &req, &resp, bytes.NewReader(old.data))
		return resp, err
	}
	resp, err := send()
	if err != nil || !resp.Success {
		t.Fatalf("the transport answered %+v, %v", resp, err)
	}
	c.net.mu.Lock()
	c.net.noStale = true
	c.net.mu.Unlock()
	if resp, err = send(); err == nil {
		t.Fatalf("the shard answered %+v", resp)
	}
	if got := n.shard.Probe(); got.Applied < at.Applied || got.LastIndex < at.LastIndex {
		t.Fatalf("it went back from %+v to %+v", at, got)
	}
	if inst := n.shard.supervisor.current.Load(); inst.raft.AppliedIndex() < at.Applied {
		t.Fatalf("raft went back to %d", inst.raft.AppliedIndex())
	}
	if got := n.shard.Status().ConfigurationIndex; got != conf {
		t.Fatalf("configuration %d, was %d", got, conf)
	}
	if !bytes.Equal(before, n.dump(t)) {
		t.Fatal("the state changed")
	}
	c.fill(5, 10)
	c.converge()
}

// Records that nobody has acknowledged, at and beyond the index of a snapshot, make a
// replica refuse everything that follows the snapshot. The supervisor starts it anew
// without its log, and nobody has to intervene.
func TestDivergentSuffixThenSnapshot(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(id string, cfg *Config) {
		smallLogs(30)(id, cfg)
		cfg.Limits.InFlight = 60
		cfg.Limits.RecordBytes = 1 // one call, one record
	}
	c.startAll()
	old := c.leader()
	old.mustDo(t, call.Write, "APPEND", "k", "first")
	c.converge()
	base := old.shard.Probe().LastIndex
	c.net.isolate(old.id, c.ids, true, true)
	term := old.shard.lead.leads()
	var results []<-chan call.Result
	for i := range 60 {
		w, done := newCall(call.Write, term, "APPEND", "k", fmt.Sprint("divergent", i))
		old.shard.Submit(w)
		results = append(results, done)
	}
	for _, done := range results {
		if _, err := await(t, done); err == nil {
			t.Fatal("a write on a minority was acknowledged")
		}
	}
	if got := old.shard.Probe().LastIndex; got < base+50 {
		t.Fatalf("only %d records diverge", got-base)
	}
	rest := c.others(old.id)
	c.fill(40, 100, rest...)
	c.truncated(c.leader(rest...).id, base+5)
	if last := c.leader(rest...).shard.Probe().LastIndex; last >= old.shard.Probe().LastIndex {
		t.Fatalf("the leader is at %d already, the test shows nothing", last)
	}
	c.net.isolate(old.id, c.ids, false, true)
	c.eventually("the instance was replaced", func() bool { return old.shard.Status().Restarts > 0 })
	c.converge()
	got := values(c.leader().mustDo(t, call.Read, "RANGE", "k"))
	if len(got) != 1 {
		t.Fatalf("values %v", got)
	}
	c.fill(3, 10)
	c.converge()
}

// A snapshot that is damaged or cut short on its way leaves no trace. The next one is
// installed.
func TestDamagedSnapshot(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = smallLogs(40)
	c.startAll()
	id := c.others(c.leader().id)[0]
	n := c.nodes[id]
	c.fill(3, 10)
	c.converge()
	before := n.dump(t)

	rng := rand.New(rand.NewPCG(1, 2))
	var bad atomic.Int64
	attempts := int64(6) // Raft waits longer after each
	if testing.Short() {
		attempts = 3
	}
	c.net.mu.Lock()
	c.net.onInstall = func(_ string, req *raft.InstallSnapshotRequest, data io.Reader) (io.Reader, error) {
		b, err := io.ReadAll(data)
		if err != nil {
			return nil, err
		}
		if int64(len(b)) != req.Size {
			t.Errorf("%d bytes sent, %d announced", len(b), req.Size)
		}
		k := bad.Add(1)
		switch {
		case k > attempts:
		case k%3 == 0:
			return io.MultiReader(bytes.NewReader(b[:rng.IntN(len(b))]), brokenReader{}), nil
		case k%3 == 1:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		default:
			req.Size += 5
			b = append(b, "extra"...)
		}
		return bytes.NewReader(b), nil
	}
	c.net.mu.Unlock()
	c.net.isolate(id, c.ids, true, true)
	c.fill(150, 100, c.others(id)...)
	c.truncated(c.leader(c.others(id)...).id, n.shard.Probe().LastIndex)
	c.net.isolate(id, c.ids, false, true)
	c.eventually("damaged snapshots were tried", func() bool {
		if k := bad.Load(); k > 0 && k <= attempts {
			if !bytes.Equal(before, n.dump(t)) && n.shard.Status().SnapshotsStaged == 0 {
				t.Fatal("a damaged snapshot changed the state")
			}
		}
		return bad.Load() > attempts
	})
	c.converge()
	c.eventually("nothing is left", func() bool {
		names, err := n.fs.List("staging/7")
		return err == nil && len(names) == 0
	})
	if got := n.shard.Status().SnapshotsStaged; got != 1 {
		t.Fatalf("%d snapshots were taken for good", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

// A snapshot of another shard, or of other slots, is refused.
func TestForeignSnapshot(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	n := c.leader()
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	e, err := newExport(n.shard.shared, "staging/7/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(e)
	if err != nil || int64(len(b)) != e.size() {
		t.Fatalf("%d bytes, %d announced, %v", len(b), e.size(), err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"shard": func(c *Config) { c.ID++ }, "first slot": func(c *Config) { c.FirstSlot++ }, "last slot": func(c *Config) { c.LastSlot-- },
	} {
		cfg := *n.shard.cfg
		change(&cfg)
		r, err := newReceiver(&cfg, "staging/7/y")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write(b); !errors.Is(err, ErrSnapshot) {
			t.Errorf("another %s: %v", name, err)
		}
		if err := r.discard(); err != nil {
			t.Fatal(err)
		}
	}
	// The result is the same in pieces of any size.
	for _, size := range []int{1, 7, 41, 1000} {
		r, err := newReceiver(n.shard.cfg, "staging/7/z")
		if err != nil {
			t.Fatal(err)
		}
		for rest := bytes.Clone(b); len(rest) > 0; { // a clone, because files spoil the bytes that they are given
			k := min(size, len(rest))
			if _, err := r.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if h, err := r.finish(); err != nil || h.applied.index != n.shard.Applied() {
			t.Fatalf("pieces of %d: %v, %v", size, &h, err)
		}
		if err := r.discard(); err != nil {
			t.Fatal(err)
		}
	}
}

// Snapshots in a row, with no record after them, raise an alarm and bring a new instance.
func TestSnapshotLoopAlarm(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	n := c.leader()
	n.shard.supervisor.loop.Store(loopInstalls)
	c.eventually("the alarm", func() bool { st := n.shard.Status(); return st.SnapshotLoops == 1 && st.Restarts == 1 })
	c.leader().mustDo(t, call.Write, "APPEND", "k", "v")
}

// Open fails with a named error when a disk has lost data that it had confirmed.
func TestOpenRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, c *testCluster, n *testNode)
		want   error
	}{
		{"the state is gone", loseState, ErrStateBehind},
		{"the log is gone", loseLog, ErrLogBehind},
		{"the log begins too late", loseHead, ErrLogGap},
		{"the staged snapshot is gone", loseStaged, ErrStaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestCluster(t, "a")
			c.tune = smallLogs(20)
			c.startAll()
			c.fill(60, 10)
			c.truncated("a", 5)
			n := c.nodes["a"]
			c.net.register("a", nil)
			if err := n.shard.Close(); err != nil {
				t.Fatal(err)
			}
			n.shard = nil
			tc.damage(t, c, n)
			s, err := c.open("a")
			if err == nil {
				err = errors.Join(errors.New("it opened"), s.Close())
			}
			if !errors.Is(err, tc.want) {
				t.Fatal(err)
			}
		})
	}
}

func loseState(t *testing.T, _ *testCluster, n *testNode) {
	lo, hi := kv.SlotBounds(0, 99)
	if err := n.state.DeleteRange(lo, hi, nil); err != nil {
		t.Fatal(err)
	}
}

// loseLog deletes a log with a record that no snapshot covers.
func loseLog(t *testing.T, c *testCluster, n *testNode) {
	c.tune = nil
	s := c.start("a")
	c.leader().mustDo(t, call.Write, "APPEND", "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n.shard = nil
	if err := n.log.Store(testShard).ResetLog(); err != nil {
		t.Fatal(err)
	}
}

// loseHead deletes all records but the last, which no snapshot covers.
func loseHead(t *testing.T, _ *testCluster, n *testNode) {
	s := n.log.Store(testShard)
	m, _, _ := s.Marker()
	last, _ := s.LastIndex()
	if err := s.StoreLog(&raft.Log{Index: last + 1, Term: 9}); err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: last + 2, Term: 9}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(1, max(m.Index, last)+1); err != nil {
		t.Fatal(err)
	}
}

// loseStaged names a staged snapshot that is not there.
func loseStaged(t *testing.T, _ *testCluster, n *testNode) {
	s := n.log.Store(testShard)
	m, _, _ := s.Marker()
	m.Index, m.Applied, m.Staged = m.Index+1000, m.Applied+1000, "recv-1"
	if err := s.PutMarker(m); err != nil {
		t.Fatal(err)
	}
}
