package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/node"
	"millrace/test/chaos/check"
	"millrace/test/chaos/measure"
	"millrace/test/chaos/replay"
	"millrace/test/chaos/workload"
)

var (
	inTime = flag.Duration("in-process-duration", 8*time.Second, "how long TestInProcess stops and starts nodes")
	inSeed = flag.Uint64("in-process-seed", 1, "seed of the choice of nodes and of the clients")
)

// server is one node that runs in the test's process.
type server struct {
	cfg    node.Config
	n      *node.Node
	cancel context.CancelFunc
	done   chan error
}

func (s *server) start(t *testing.T) {
	t.Helper()
	n, err := node.Open(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.n, s.cancel, s.done = n, cancel, make(chan error, 1)
	go func() { s.done <- n.Run(ctx) }() // stop ends it
	b, err := os.ReadFile(filepath.Join(s.cfg.DataDir, node.AddressesFile))
	if err != nil {
		t.Fatal(err)
	}
	var a node.Addresses
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	s.cfg.ClientAddr, s.cfg.PeerAddr, s.cfg.GossipAddr, s.cfg.HTTPAddr = a.Client, a.Peer, a.Gossip, a.HTTP
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if s.cancel == nil {
		return // already stopped
	}
	s.cancel()
	s.cancel = nil
	if err := <-s.done; err != nil {
		t.Errorf("a node ended with an error: %v", err)
	}
}

// healthyIn bounds how long nodes may take to become healthy on a busy machine.
const healthyIn = 90 * time.Second

func awaitHealthy(t *testing.T, servers []*server) {
	t.Helper()
	for deadline := time.Now().Add(healthyIn); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		wrong := ""
		for i, s := range servers {
			if st := s.n.Status(ctx); !st.Healthy {
				wrong = fmt.Sprintf("node %d: %v", i+1, st.Problems)
			}
		}
		cancel()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
	}
}

// calm is the fault state of a run in which nodes are only asked to stop. Their clocks
// are right, and no node ever counts as calm, so that nobody checks how long calls block.
type calm struct{ problems *check.Problems }

func (calm) Calm(int, time.Duration, time.Duration) bool { return false }
func (calm) Clocks() bool                                { return true }

// nodes is a cluster of three nodes in the test's process, with its clients' environment.
type nodes struct {
	servers  []*server
	problems *check.Problems
	env      *workload.Env
	verdicts *workload.Verdicts
	rng      *rand.Rand
}

// startNodes starts three nodes, which end with the test. Each shard's log keeps
// logRecords records.
func startNodes(t *testing.T, shards, logRecords int) *nodes {
	n := &nodes{problems: check.NewProblems(), rng: rand.New(rand.NewPCG(*inSeed, 1))}
	dir := t.TempDir()
	for i := range 3 {
		cfg := node.DefaultConfig()
		cfg.DataDir = filepath.Join(dir, fmt.Sprintf("node%d", i+1))
		cfg.ClientAddr, cfg.PeerAddr, cfg.GossipAddr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.BootstrapExpect, cfg.Shards, cfg.MemoryBytes, cfg.LogRecords = 3, shards, 128<<20, logRecords
		cfg.Logger = slog.New(slog.DiscardHandler)
		if i > 0 {
			cfg.Join = []string{n.servers[0].cfg.GossipAddr}
		}
		s := &server{cfg: cfg}
		s.start(t)
		t.Cleanup(func() { s.stop(t) })
		n.servers = append(n.servers, s)
	}
	awaitHealthy(t, n.servers)
	n.env = &workload.Env{
		Book: check.NewBook(n.problems), Timeline: measure.NewTimeline(n.problems.Now), Shards: measure.NewShards(shards, n.problems.Now),
		Faults: calm{n.problems}, Seed: *inSeed,
	}
	for _, s := range n.servers {
		n.env.Addrs = append(n.env.Addrs, s.cfg.ClientAddr)
	}
	for _, s := range n.servers[0].n.Status(context.Background()).Shards {
		if s.ID > 0 {
			n.env.Slots = append(n.env.Slots, workload.Slots{Shard: s.ID, First: s.FirstSlot, Last: s.LastSlot})
		}
	}
	n.verdicts = &workload.Verdicts{Dir: dir}
	return n
}

// work starts the clients of an era, and stops and starts one random node after another,
// for the time d and at least least times. It returns the ended era and the stops.
func (n *nodes) work(t *testing.T, load workload.Load, d time.Duration, least int) (e *workload.Era, stops int) {
	e, err := workload.Start(n.env, 1, load, n.verdicts)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(d); time.Now().Before(end) || stops < least; stops++ {
		s := n.servers[n.rng.IntN(len(n.servers))]
		s.stop(t)
		s.start(t)
		awaitHealthy(t, n.servers)
	}
	e.Stop()
	awaitHealthy(t, n.servers)
	return e, stops
}

func everywhere(uint32) []int { return []int{0, 1, 2} }

func (n *nodes) report(t *testing.T) {
	kept, _ := n.problems.All()
	for _, p := range kept {
		t.Errorf("%s: %s", p.Invariant, p.Text)
	}
}

// TestInProcess is the smallest chaos run: three nodes in the test's process, all clients
// and all checks, while one node after another is stopped and started.
func TestInProcess(t *testing.T) {
	n := startNodes(t, 3, 400)
	e, stops := n.work(t, workload.Load{Writers: 2, Depth: 8, Rate: 400, Consumers: 2, ManyStreams: 12}, *inTime, 0)
	if err := e.Finish(everywhere); err != nil {
		t.Fatal(err)
	}
	total, sum := n.env.Timeline.Total(), n.verdicts.Sum()
	t.Logf("%d stops; %+v; %+v", stops, total, sum)
	if total.Acked == 0 || sum.Linearizable == 0 {
		t.Error("no XADD was acknowledged or no history was checked, so the run proves nothing")
	}
	n.report(t)
}

// TestReplay stops and starts nodes, and then compares every reply of some clients with
// the logs on the nodes' disks.
func TestReplay(t *testing.T) {
	n := startNodes(t, 1, wholeLog)
	load := workload.Load{Writers: 1, Depth: 1, Rate: 10, Consumers: 1, ManyStreams: 1, Recorded: replayClients}
	e, stops := n.work(t, load, 0, 3)
	recorded, err := e.EndRecorded(everywhere)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range n.servers {
		s.stop(t)
	}
	counts, err := recorded.Compare(func(shard uint32, keep func([]string) bool) (logs []replay.Log, err error) {
		for i, s := range n.servers {
			l, err := replay.ReadLog(fmt.Sprintf("node %d", i+1), s.cfg.DataDir, shard, keep)
			if err != nil {
				return nil, err
			}
			logs = append(logs, l)
		}
		return logs, nil
	}, func(format string, args ...any) { t.Errorf(format, args...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stops; %+v", stops, counts)
	if counts.Replies == 0 || counts.Reads == 0 || counts.Finals == 0 {
		t.Error("no reply, read or final stream was compared, so the run proves nothing")
	}
}
