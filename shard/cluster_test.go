package shard

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/raftlog"
	"millrace/raftlog/disk"
)

const (
	testShard     = 7
	testHeartbeat = 150 * time.Millisecond
	testPatience  = 45 * time.Second // for everything that must happen at all
)

// testNode is one node. Its disk outlives its replica.
type testNode struct {
	id      string
	fs      vfs.FS
	log     *raftlog.DB
	state   *disk.DB
	shard   *Shard
	machine *listMachine
}

// testCluster is the replicas of one shard, each on a disk of its own, in memory.
type testCluster struct {
	t     *testing.T
	net   *testNet
	ids   []string
	nodes map[string]*testNode
	clock atomic.Int64 // ms

	founders []string // ids when nil
	// tune, if set, changes the configuration of a replica before it opens.
	tune func(id string, cfg *Config)
	// fsOf, if set, gives a node's file system.
	fsOf func(id string) vfs.FS
	// wrapLog, if set, wraps the log of a replica.
	wrapLog func(id string, l LogStore) LogStore
}

func newTestCluster(t *testing.T, ids ...string) *testCluster {
	c := &testCluster{t: t, net: newTestNet(), ids: ids, nodes: map[string]*testNode{}, founders: ids}
	c.clock.Store(1_000_000)
	t.Cleanup(c.closeAll)
	return c
}

func (c *testCluster) startAll() {
	c.t.Helper()
	for _, id := range c.ids {
		c.start(id)
	}
}

func (c *testCluster) closeAll() {
	for _, id := range c.ids {
		c.stop(id)
	}
}

var discardLogger = slog.New(slog.DiscardHandler)

func testLogger(id string) *slog.Logger {
	if os.Getenv("SHARD_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", id)
}

// start opens a node on its disk.
func (c *testCluster) start(id string) *Shard {
	c.t.Helper()
	s, err := c.open(id)
	if err != nil {
		c.t.Fatalf("open %s: %v", id, err)
	}
	return s
}

func (c *testCluster) open(id string) (*Shard, error) {
	n := c.nodes[id]
	if n == nil {
		n = &testNode{id: id, fs: vfs.NewMem()}
		if c.fsOf != nil {
			n.fs = c.fsOf(id)
		}
		c.nodes[id] = n
	}
	var err error
	if n.log == nil {
		n.log, err = raftlog.Open("raftlog", raftlog.Options{FS: n.fs})
		if err != nil {
			return nil, err
		}
		n.state, err = disk.Open("state", disk.Options{Name: "state", FS: n.fs})
		if err != nil {
			return nil, err
		}
	}
	n.machine = newListMachine(0)
	var log LogStore = n.log.Store(testShard)
	if c.wrapLog != nil {
		log = c.wrapLog(id, log)
	}
	cfg := Config{
		ID: testShard, NodeID: id, FirstSlot: 0, LastSlot: 99,
		Machine: n.machine, Log: log, State: n.state.DB,
		StagingDir: "staging", FS: n.fs,
		Transport: func() raft.Transport { return c.net.endpoint(id) },
		Prober:    prober{c.net, id},
		Clock:     c.clock.Load,
		Timing:    Timing{Heartbeat: testHeartbeat, CommitTimeout: 20 * time.Millisecond, Probe: time.Second, Watch: 50 * time.Millisecond},
		Logger:    testLogger(id),
	}
	if contains(c.founders, id) {
		cfg.Founders = c.founders
	}
	if c.tune != nil {
		c.tune(id, &cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	n.shard = s
	c.net.register(id, s)
	return s, nil
}

// stop closes a node's replica and its databases.
func (c *testCluster) stop(id string) {
	n := c.nodes[id]
	if n == nil {
		return
	}
	if n.shard != nil {
		c.net.register(id, nil)
		if err := n.shard.Close(); err != nil {
			c.t.Errorf("close %s: %v", id, err)
		}
		n.shard = nil
	}
	if n.log != nil {
		if err := n.log.Close(); err != nil {
			c.t.Errorf("close the log of %s: %v", id, err)
		}
		if err := n.state.Close(); err != nil {
			c.t.Errorf("close the state of %s: %v", id, err)
		}
		n.log, n.state = nil, nil
	}
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

// eventually waits for a condition to come true, and fails the test after testPatience.
func (c *testCluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	waitFor(c.t, what, ok)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(testPatience)
	defer timeout.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("%s: not within %v", what, testPatience)
		}
	}
}

// leader waits until one of the nodes leads and is ready, and returns that node.
func (c *testCluster) leader(among ...string) *testNode {
	c.t.Helper()
	if len(among) == 0 {
		among = c.ids
	}
	var found *testNode
	c.eventually("a leader", func() bool {
		for _, id := range among {
			if n := c.nodes[id]; n != nil && n.shard != nil && n.shard.writes.isReady(n.shard.lead.leads()) && n.shard.lead.leads() != 0 {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

func words(s ...string) [][]byte {
	out := make([][]byte, len(s))
	for i, w := range s {
		out[i] = []byte(w)
	}
	return out
}

// newCall makes a call. Its result comes on the channel.
func newCall(kind call.Kind, term uint64, argv ...string) (*call.Call, <-chan call.Result) {
	done := make(chan call.Result, 2) // room for a second answer, which is a bug and must not block
	return &call.Call{
		Shard: testShard, Term: term, Kind: kind, Cmds: [][][]byte{words(argv...)},
		Proto: 2, TimeoutMS: 10_000,
		Done: func(r call.Result) { done <- r },
	}, done
}

// do runs a call on a node in the term it leads in.
func (n *testNode) do(t testing.TB, kind call.Kind, argv ...string) (string, error) {
	t.Helper()
	c, done := newCall(kind, n.shard.lead.leads(), argv...)
	n.shard.Submit(c)
	return await(t, done)
}

func await(t testing.TB, done <-chan call.Result) (string, error) {
	t.Helper()
	select {
	case r := <-done:
		return string(r.Reply), r.Err
	case <-time.After(testPatience):
		t.Fatal("a call was not answered")
		return "", nil
	}
}

func (n *testNode) mustDo(t testing.TB, kind call.Kind, argv ...string) string {
	t.Helper()
	out, err := n.do(t, kind, argv...)
	if err != nil {
		t.Fatalf("%s %v on %s: %v", argv[0], argv[1:], n.id, err)
	}
	return out
}

// dump returns all keys and values of a node's shard.
func (n *testNode) dump(t testing.TB) []byte {
	t.Helper()
	return dumpRange(t, n.state.DB, n.shard.applier.lo, n.shard.applier.hi)
}

func dumpRange(t testing.TB, db *pebble.DB, lo, hi []byte) []byte {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b bytes.Buffer
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintf(&b, "%x=%x\n", it.Key(), it.Value())
	}
	if err := it.Error(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// converge waits until the nodes have the same log and have applied all of it, and then
// compares their states.
func (c *testCluster) converge(ids ...string) {
	c.t.Helper()
	if len(ids) == 0 {
		ids = c.ids
	}
	ctx := background(c.t)
	c.eventually("the same applied index everywhere", func() bool {
		var index uint64
		var sum [32]byte
		for n, id := range ids {
			s := c.nodes[id].shard
			i, h, err := s.Hash(ctx)
			if err != nil {
				c.t.Fatal(err)
			}
			if n == 0 {
				index, sum = i, h
			}
			if i != index || s.Probe().LastIndex != c.nodes[ids[0]].shard.Probe().LastIndex {
				return false
			}
			if h != sum {
				c.t.Fatalf("states differ at index %d\n%s:\n%s\n%s:\n%s", index,
					ids[0], cut(c.nodes[ids[0]].dump(c.t)), id, cut(c.nodes[id].dump(c.t)))
			}
		}
		return true
	})
}

func cut(b []byte) []byte { return b[:min(len(b), 2000)] }

// values returns the values in a reply to RANGE.
func values(reply string) []string {
	var out []string
	lines := strings.Split(reply, "\r\n")
	for i := 2; i < len(lines); i += 2 {
		out = append(out, lines[i])
	}
	return out
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}
