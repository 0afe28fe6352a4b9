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
	"millrace/test/chaos/workload"
)

var (
	inTime = flag.Duration("in-process-duration", 8*time.Second, "how long nodes are stopped and started in TestInProcess")
	inSeed = flag.Uint64("in-process-seed", 1, "decides which, and what clients do")
)

// server is a node in this process.
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
	go func() { s.done <- n.Run(ctx) }() // ends with stop
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
	s.cancel()
	if err := <-s.done; err != nil {
		t.Errorf("a node ended: %v", err)
	}
}

// healthyIn bounds how long nodes may take to become well on a busy machine.
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

// calm: nothing is disturbed but what is asked to stop, which answers what it has.
type calm struct{ problems *check.Problems }

func (calm) Calm(int, time.Duration, time.Duration) bool { return false }
func (calm) Clocks() bool                                { return true }

// TestInProcess is the smallest chaos run: three nodes in this process, of which one
// after another is stopped and started, with all clients and all checks.
func TestInProcess(t *testing.T) {
	const shards = 3
	problems := check.NewProblems()
	rng := rand.New(rand.NewPCG(*inSeed, 1))
	dir := t.TempDir()
	var servers []*server
	for i := range 3 {
		cfg := node.DefaultConfig()
		cfg.DataDir = filepath.Join(dir, fmt.Sprintf("node%d", i+1))
		cfg.ClientAddr, cfg.PeerAddr, cfg.GossipAddr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.BootstrapExpect, cfg.Shards, cfg.MemoryBytes, cfg.LogRecords = 3, shards, 128<<20, 400
		cfg.Logger = slog.New(slog.DiscardHandler)
		if i > 0 {
			cfg.Join = []string{servers[0].cfg.GossipAddr}
		}
		s := &server{cfg: cfg}
		s.start(t)
		defer func() { s.stop(t) }()
		servers = append(servers, s)
	}
	awaitHealthy(t, servers)

	env := &workload.Env{
		Book: check.NewBook(problems), Timeline: measure.NewTimeline(problems.Now), Shards: measure.NewShards(shards, problems.Now),
		Faults: calm{problems}, Seed: *inSeed,
	}
	for _, s := range servers {
		env.Addrs = append(env.Addrs, s.cfg.ClientAddr)
	}
	for _, s := range servers[0].n.Status(context.Background()).Shards {
		if s.ID > 0 {
			env.Slots = append(env.Slots, workload.Slots{Shard: s.ID, First: s.FirstSlot, Last: s.LastSlot})
		}
	}
	verdicts := &workload.Verdicts{Dir: dir}
	e, err := workload.Start(env, 1, workload.Load{Writers: 2, Depth: 8, Rate: 400, Consumers: 2, ManyStreams: 12}, verdicts)
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for end := time.Now().Add(*inTime); time.Now().Before(end); stops++ {
		s := servers[rng.IntN(len(servers))]
		s.stop(t)
		s.start(t)
		awaitHealthy(t, servers)
	}
	e.Stop()
	awaitHealthy(t, servers)
	if err := e.Finish(func(uint32) []int { return []int{0, 1, 2} }); err != nil {
		t.Fatal(err)
	}
	total, sum := env.Timeline.Total(), verdicts.Sum()
	t.Logf("%d stops; %+v; %+v", stops, total, sum)
	if total.Acked == 0 || sum.Linearizable == 0 {
		t.Error("nothing was acknowledged or checked: the run shows nothing")
	}
	kept, _ := problems.All()
	for _, p := range kept {
		t.Errorf("%s: %s", p.Invariant, p.Text)
	}
}
