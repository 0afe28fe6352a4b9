package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/raftlog/disk/crashfs"
)

// crashPoints is the greatest number of moments that a crash test checks.
func crashPoints(normal int) int64 {
	if s := os.Getenv("SHARD_CRASH_POINTS"); s != "" {
		if n, err := strconv.Atoi(s); err == nil {
			return int64(n)
		}
	}
	return int64(normal)
}

// crasher clones a node's disk at its syncs, as a power cut would leave it, and checks
// each clone.
type crasher struct {
	t      *testing.T
	mem    *vfs.MemFS
	fs     vfs.FS
	max    int64
	points atomic.Int64
	active atomic.Bool
	// observe is called before the clone is taken, and returns a check of the state that
	// the clone must have.
	observe func() (check func(*clone) error)

	mu  sync.Mutex
	rng *rand.Rand // guarded by mu
	wg  sync.WaitGroup
	sem chan struct{}
}

func newCrasher(t *testing.T, seed uint64, max int64, observe func() func(*clone) error) *crasher {
	c := &crasher{t: t, mem: vfs.NewCrashableMem(), max: max, observe: observe, rng: rand.New(rand.NewPCG(seed, 1)), sem: make(chan struct{}, 4)}
	c.fs = crashfs.Wrap(c.mem, c.cut)
	return c
}

func (c *crasher) cut(path string) {
	if !c.active.Load() || c.t.Failed() || c.points.Add(1) > c.max {
		return
	}
	check := c.observe()
	c.mu.Lock()
	percent := []int{0, 100, c.rng.IntN(100)}[c.rng.IntN(3)]
	fs := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
	c.mu.Unlock()
	c.sem <- struct{}{}
	c.wg.Go(func() {
		defer func() { <-c.sem }()
		cl, err := openClone(fs)
		if err == nil {
			err = errors.Join(check(cl), cl.close())
		}
		if err != nil {
			c.t.Errorf("power cut at a sync of %s, %d %% of what was not synced kept: %v", path, percent, err)
		}
	})
}

// finish waits for the checks, and returns their number.
func (c *crasher) finish() int64 {
	c.active.Store(false)
	c.wg.Wait()
	return min(c.points.Load(), c.max)
}

// clone is a node's disk after a power cut, opened with the shard's parts except Raft.
type clone struct {
	cfg       *Config
	log       *raftlog.DB
	store     *raftlog.Store
	state     *disk.DB
	applier   *applier
	snapshots *snapshots
}

func openClone(fs vfs.FS) (*clone, error) {
	cl := new(clone)
	var err error
	if cl.log, err = raftlog.Open("raftlog", raftlog.Options{FS: fs}); err != nil {
		return nil, err
	}
	if cl.state, err = disk.Open("state", disk.Options{Name: "state", FS: fs}); err != nil {
		return nil, errors.Join(err, cl.log.Close())
	}
	cl.store = cl.log.Store(testShard)
	cl.cfg = &Config{
		ID: testShard, NodeID: "x", LastSlot: 99, Machine: newListMachine(0), Log: cl.store, State: cl.state.DB,
		StagingDir: "staging", FS: fs, Limits: Limits{}.withDefaults(), Logger: discardLogger,
	}
	cl.applier = loadedApplier(cl.cfg)
	cl.snapshots = newSnapshots(cl.applier.shared, cl.applier)
	return cl, nil
}

func (cl *clone) close() error { return errors.Join(cl.log.Close(), cl.state.Close()) }

// replay applies the records of the log that the state lacks.
func (cl *clone) replay() error {
	last, err := cl.store.LastIndex()
	if err != nil {
		return err
	}
	for i := cl.applier.now.index + 1; i <= last; i++ {
		l := new(raft.Log)
		if err := cl.store.GetLog(i, l); err != nil {
			return fmt.Errorf("record %d of %d: %w", i, last, err)
		}
		cl.applier.ApplyBatch([]*raft.Log{l})
		if cl.applier.halted.Load() {
			return fmt.Errorf("halted at record %d", i)
		}
	}
	return nil
}

// list returns the values at key.
func (cl *clone) list(key string) ([]string, error) {
	replies, _, err := cl.cfg.Machine.Read(pebblekv.Reader{R: cl.state.DB}, 0, [][][]byte{words("RANGE", key)})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range replies[0].Elems {
		out = append(out, string(e.Str))
	}
	return out, nil
}

// counted checks that key holds 1, 2, 3 … up to at least n.
func (cl *clone) counted(key string, n int64) error {
	list, err := cl.list(key)
	if err != nil {
		return err
	}
	for i, v := range list {
		if v != strconv.Itoa(i+1) {
			return fmt.Errorf("%s: value %d is %s", key, i+1, v)
		}
	}
	if int64(len(list)) < n {
		return fmt.Errorf("%s: %d values, %d were acknowledged", key, len(list), n)
	}
	return nil
}

// A replica that is alone: after a power cut at any moment every acknowledged write is
// there, also while snapshots are taken and the log is truncated.
func TestCrashAlone(t *testing.T) {
	const keys = 4
	var acked [keys]atomic.Int64
	cr := newCrasher(t, 11, crashPoints(250), func() func(*clone) error {
		var must [keys]int64
		for i := range must {
			must[i] = acked[i].Load()
		}
		return func(cl *clone) error {
			if err := cl.snapshots.recover(cl.store); err != nil {
				return err
			}
			if err := cl.replay(); err != nil {
				return err
			}
			for i, n := range must {
				if err := cl.counted(fmt.Sprint("k", i), n); err != nil {
					return err
				}
			}
			return nil
		}
	})
	c := newTestCluster(t, "a")
	c.fsOf = func(string) vfs.FS { return cr.fs }
	c.tune = func(id string, cfg *Config) {
		smallLogs(40)(id, cfg)
		cfg.Limits.RecordBytes = 300
		// A power cut takes time here.
		cfg.Timing.LogStall = testPatience
	}
	c.startAll()
	n := c.leader()
	cr.active.Store(true)
	var wg sync.WaitGroup
	for k := range keys {
		wg.Go(func() {
			for i := int64(1); cr.points.Load() < cr.max && !t.Failed(); i++ {
				if out, err := n.do(t, call.Write, "APPEND", fmt.Sprint("k", k), strconv.FormatInt(i, 10)); err != nil {
					t.Errorf("write: %q, %v", out, err)
					return
				}
				acked[k].Store(i)
			}
		})
	}
	wg.Wait()
	if n := cr.finish(); n < cr.max {
		t.Fatalf("%d points", n)
	}
	if st := n.shard.Status(); st.SnapshotsTaken < 2 {
		t.Fatalf("%d snapshots: the test shows little", st.SnapshotsTaken)
	}
}

// A follower installs snapshots again and again. After a power cut at any moment it
// opens, has every record that it acknowledged to the leader, and has a state that the
// leader had at some time.
func TestCrashInstall(t *testing.T) {
	const id = "b"
	var ackedIndex atomic.Uint64 // the last record of a completed write to the follower's log
	var installs func() uint64
	cr := newCrasher(t, 12, crashPoints(200), func() func(*clone) error {
		must := ackedIndex.Load()
		return func(cl *clone) error { return cl.installed(must) }
	})
	c := newTestCluster(t, "a", "b", "c")
	c.fsOf = func(node string) vfs.FS {
		if node == id {
			return cr.fs
		}
		return vfs.NewMem()
	}
	c.wrapLog = func(node string, l LogStore) LogStore {
		if node == id {
			return &ackLog{LogStore: l, acked: &ackedIndex}
		}
		return l
	}
	c.tune = func(node string, cfg *Config) {
		smallLogs(20)(node, cfg)
		cfg.Limits.TableBytes = 600
		if node == id { // it never leads, so its log holds records of the leader only
			cfg.Timing.Heartbeat = 20 * testHeartbeat
		}
		cfg.Timing.LogStall = testPatience
	}
	c.startAll()
	next := 0
	n := c.nodes[id]
	installs = func() uint64 { return n.shard.Status().SnapshotsStaged }
	cr.active.Store(true)
	for round := uint64(1); cr.points.Load() < cr.max && !t.Failed(); round++ {
		c.net.isolate(id, c.ids, true, true)
		c.count(&next, 50, "a", "c")
		c.truncated(c.leader("a", "c").id, n.shard.Probe().LastIndex)
		before := installs()
		c.net.isolate(id, c.ids, false, true)
		c.eventually("it is installed", func() bool { return installs() > before || t.Failed() })
		c.count(&next, 5, "a", "c")
		c.eventually("it follows", func() bool {
			return n.shard.Probe().Applied >= c.leader("a", "c").shard.Probe().Applied || t.Failed()
		})
	}
	if points := cr.finish(); points < cr.max {
		t.Fatalf("%d points", points)
	}
	if installs() < 3 {
		t.Fatalf("%d installs", installs())
	}
	c.converge()
}

// installed checks a follower: it opens, has applied at least up to index must, and has a
// state that the leader had.
func (cl *clone) installed(must uint64) error {
	if err := cl.snapshots.recover(cl.store); err != nil {
		return err
	}
	if names, err := cl.cfg.FS.List("staging/7"); err != nil || len(names) > 0 {
		return fmt.Errorf("staging: %v, %v", names, err)
	}
	if err := cl.replay(); err != nil {
		return err
	}
	if got := cl.applier.now.index; got < must {
		return fmt.Errorf("it has %d, and acknowledged %d", got, must)
	}
	return cl.counted("k", 0)
}

// count appends the n numbers after last to the list k, which holds 1, 2, 3 … last. The
// list's length tells whether a write in doubt was done.
func (c *testCluster) count(last *int, n int, among ...string) {
	for range n {
		out, err := c.leader(among...).do(c.t, call.Write, "APPEND", "k", strconv.Itoa(*last+1))
		for err != nil {
			out, err = c.leader(among...).do(c.t, call.Read, "COUNT", "k")
		}
		if _, serr := fmt.Sscanf(out, ":%d\r\n", last); serr != nil {
			c.t.Fatal(out, err, serr)
		}
	}
}

// ackLog notes up to which record the log has been written.
type ackLog struct {
	LogStore
	acked *atomic.Uint64
}

func (a *ackLog) StoreLogs(l []*raft.Log) error {
	err := a.LogStore.StoreLogs(l)
	if err == nil && len(l) > 0 {
		a.acked.Store(l[len(l)-1].Index)
	}
	return err
}
func (a *ackLog) StoreLog(l *raft.Log) error { return a.StoreLogs([]*raft.Log{l}) }

// A power cut at any moment of the repair of a conflict between log and snapshot: the
// replica opens, and the diverged records are neither in the state nor in a log that
// begins before the snapshot's end.
func TestCrashConflict(t *testing.T) {
	var before atomic.Uint64 // records up to it do not diverge
	cr := newCrasher(t, 13, crashPoints(150), func() func(*clone) error {
		return func(cl *clone) error { return cl.repaired(before.Load()) }
	})
	c := newTestCluster(t, "a", "b", "c")
	c.fsOf = func(node string) vfs.FS {
		if node == "a" {
			return cr.fs
		}
		return vfs.NewMem()
	}
	c.tune = func(node string, cfg *Config) {
		smallLogs(30)(node, cfg)
		cfg.Limits.InFlight = 60
		cfg.Limits.RecordBytes = 1
		cfg.Timing.LogStall = testPatience
	}
	c.startAll()
	a := c.nodes["a"]
	for round := 0; cr.points.Load() < cr.max && !t.Failed(); round++ {
		if l := c.leader(); l.id != "a" {
			c.converge()
			if err := l.shard.Transfer(background(t), "a"); err != nil {
				continue
			}
		}
		if c.leader().id != "a" {
			continue
		}
		if _, err := a.do(t, call.Write, "APPEND", "k", "good"); err != nil {
			continue
		}
		c.converge()
		before.Store(a.shard.Probe().LastIndex)
		c.diverge(a)
		restarts := a.shard.Status().Restarts
		cr.active.Store(true)
		c.net.isolate("a", c.ids, false, true)
		if a.shard.Probe().LastIndex > c.leader("b", "c").shard.Probe().LastIndex {
			c.eventually("the instance was replaced", func() bool { return a.shard.Status().Restarts > restarts || t.Failed() })
		}
		c.converge()
		cr.active.Store(false)
	}
	if points := cr.finish(); points < cr.max {
		t.Fatalf("%d points", points)
	}
}

// repaired checks a replica that was diverged after the record at before: it opens, and no
// diverged record is in its state or in a log that begins before its snapshot's end.
func (cl *clone) repaired(before uint64) error {
	if err := cl.snapshots.recover(cl.store); err != nil {
		return err
	}
	list, err := cl.list("k")
	if err != nil {
		return err
	}
	for _, v := range list {
		if v != "good" {
			return fmt.Errorf("the state has %q", v)
		}
	}
	m, ok, err := cl.store.Marker()
	if err != nil || !ok || m.Index <= before {
		return err
	}
	if m.Applied > cl.applier.now.index {
		return fmt.Errorf("applied %d, %v", cl.applier.now.index, m)
	}
	last, err := cl.store.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	var l raft.Log
	if err := cl.store.GetLog(m.Index, &l); err == nil && l.Term != m.Term || last < m.Index {
		return fmt.Errorf("the log ends at %d and has term %d at %d, %v", last, l.Term, m.Index, m)
	}
	return nil
}

// diverge cuts off n, which leads: it writes records that nobody else gets, and the others
// write and truncate theirs.
func (c *testCluster) diverge(n *testNode) {
	base := n.shard.Probe().LastIndex
	rest := c.others(n.id)
	c.net.isolate(n.id, c.ids, true, true)
	term := n.shard.lead.leads()
	for range 60 {
		w, _ := newCall(call.Write, term, "APPEND", "k", "divergent")
		n.shard.Submit(w)
	}
	c.leader(rest...)
	for range 35 {
		c.fillOne(rest...)
	}
	c.truncated(c.leader(rest...).id, base+2)
}

func (c *testCluster) fillOne(among ...string) {
	if l := c.leader(among...); l != nil {
		_, _ = l.do(c.t, call.Write, "APPEND", "k", "good")
	}
}

// A power cut at any moment of Destroy: a second Destroy leaves nothing.
func TestCrashDestroy(t *testing.T) {
	cr := newCrasher(t, 14, 200, func() func(*clone) error {
		return func(cl *clone) error {
			if err := Destroy(*cl.cfg); err != nil {
				return err
			}
			if err := cl.snapshots.recover(cl.store); err != nil {
				return err
			}
			last, err := cl.store.LastIndex()
			if err != nil || last != 0 || cl.applier.now.index != 0 {
				return fmt.Errorf("log to %d, applied %d, %v", last, cl.applier.now.index, err)
			}
			return nil
		}
	})
	c := newTestCluster(t, "a")
	c.fsOf = func(string) vfs.FS { return cr.fs }
	c.tune = smallLogs(20)
	c.startAll()
	c.fill(60, 100)
	cr.active.Store(true)
	n := c.nodes["a"]
	c.net.register("a", nil)
	if err := errors.Join(n.shard.Close(), Destroy(*n.shard.cfg)); err != nil {
		t.Fatal(err)
	}
	n.shard = nil
	if cr.finish() < 4 {
		t.Fatal("no syncs")
	}
}
