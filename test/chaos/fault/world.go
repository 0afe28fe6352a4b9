package fault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"millrace/resp"
	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
	"millrace/test/chaos/measure"
	"millrace/test/chaos/netlab"
	"millrace/test/cluster"
)

// World is what faults are done to. Nodes are counted from 0; node n is host n+1 of the
// lab.
type World struct {
	Cluster     *cluster.Cluster
	Lab         *netlab.Lab // nil: the network is left alone
	Problems    *check.Problems
	Shards      *measure.Shards
	Disturbed   *Disturbed
	Password    string // of clients
	FaultyDisks bool   // the servers were built with the tag faults
	// HourJumps lets clocks jump by an hour as well: the shards' clocks then stand for
	// as long, so that a run has such jumps at its end only.
	HourJumps atomic.Bool
	// Overload, if set, makes clients that ask for too much and do not read, for so long.
	Overload func(rng *rand.Rand, d time.Duration)
	// SmallDisk is the node whose data directory is on a file system that can be filled;
	// negative: none.
	SmallDisk int
	// LogRecords is how many records a shard's log holds.
	LogRecords int
	// Acked returns how many XADDs have been acknowledged so far.
	Acked func() int
	// Lag returns how late the harness itself has run since the last call.
	Lag func() time.Duration
	// Logf writes a line for whoever watches.
	Logf func(format string, args ...any)

	mu      sync.Mutex
	down    map[int]bool  // nodes that were killed and not yet started again
	paused  map[int]int   // how many faults have stopped a node
	held    map[int]bool  // nodes that one fault has for itself
	expect  map[int][]int // exit codes that a node may end with by itself
	counts  map[string]int
	samples map[string][]time.Duration
}

// Prepare makes w ready for use: its exported fields are set.
func (w *World) Prepare() {
	w.down, w.paused, w.held = map[int]bool{}, map[int]int{}, map[int]bool{}
	w.expect, w.counts, w.samples = map[int][]int{}, map[string]int{}, map[string][]time.Duration{}
}

// Count adds to a counter of the report.
func (w *World) Count(name string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[name] += n
}

// Counts returns the counters of the report.
func (w *World) Counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for k, v := range w.counts {
		out[k] = v
	}
	return out
}

func (w *World) nodes() int { return len(w.Cluster.Nodes) }

// led returns which node leads each shard, the meta group included, by the word of the
// first node that answers; -1 where there is no leader.
func (w *World) led() map[uint32]int {
	index := map[string]int{}
	for i, n := range w.Cluster.Nodes {
		index[n.ID()] = i
	}
	for _, n := range w.Cluster.Nodes {
		if !n.Running() {
			continue
		}
		st, err := w.Cluster.Status(n)
		if err != nil && len(st.Shards) == 0 {
			continue
		}
		out := map[uint32]int{}
		for _, s := range st.Shards {
			out[s.ID] = -1
			if i, ok := index[s.Leader]; ok && s.Leader != "" {
				out[s.ID] = i
			}
		}
		return out
	}
	return nil
}

// leader returns a node that leads something, by chance.
func (w *World) leader(rng *rand.Rand) int {
	led := w.led()
	for range 4 * (len(led) + 1) {
		if n, ok := led[uint32(rng.IntN(max(len(led), 1)))]; ok && n >= 0 {
			return n
		}
	}
	return rng.IntN(w.nodes())
}

// follower returns a node that leads less than others, by chance.
func (w *World) follower(rng *rand.Rand) int {
	led := map[int]int{}
	for _, n := range w.led() {
		led[n]++
	}
	best := rng.IntN(w.nodes())
	for range 2 {
		if n := rng.IntN(w.nodes()); led[n] < led[best] {
			best = n
		}
	}
	return best
}

// some returns so many nodes, by chance.
func (w *World) some(rng *rand.Rand, n int) []int { return rng.Perm(w.nodes())[:n] }

// majority is how many nodes are one.
func (w *World) majority() int { return w.nodes()/2 + 1 }

// hold takes one of the nodes for one fault, which release ends: none that another fault
// has killed or paused is taken, and no other fault kills or pauses it meanwhile. It
// reports false when there is none.
func (w *World) hold(nodes []int) (node int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range nodes {
		if !w.down[i] && w.paused[i] == 0 && !w.held[i] {
			w.held[i] = true
			return i, true
		}
	}
	return 0, false
}

func (w *World) release(node int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, node)
}

// kill kills nodes, and returns those that another fault had not killed or taken before.
func (w *World) kill(nodes []int) []int {
	return w.fell(nodes, func(i int) { w.Cluster.Kill(w.Cluster.Nodes[i]) })
}

// fell ends nodes, side by side, each in the way of end, but those that are down already.
// It returns which.
func (w *World) fell(nodes []int, end func(i int)) []int {
	w.mu.Lock()
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(i int) bool { return w.down[i] || w.held[i] })
	for _, i := range nodes {
		w.down[i] = true
	}
	w.mu.Unlock()
	w.Disturbed.begin(nodes...)
	var wg sync.WaitGroup
	for _, i := range nodes {
		wg.Go(func() { end(i) })
	}
	wg.Wait()
	w.Count("kills", len(nodes))
	return nodes
}

// revive starts nodes that were killed or asked to stop.
func (w *World) revive(nodes []int) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for at, i := range nodes {
		wg.Go(func() { errs[at] = w.Cluster.Launch(w.Cluster.Nodes[i]) })
	}
	wg.Wait()
	w.mu.Lock()
	for _, i := range nodes {
		delete(w.down, i)
	}
	w.mu.Unlock()
	w.Disturbed.end(nodes...)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pause stops nodes, and returns those that another fault had not taken before.
func (w *World) pause(nodes []int) []int {
	w.mu.Lock()
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(i int) bool { return w.held[i] })
	for _, i := range nodes {
		w.paused[i]++
	}
	w.mu.Unlock()
	w.Disturbed.begin(nodes...)
	for _, i := range nodes {
		w.Cluster.Pause(w.Cluster.Nodes[i])
	}
	w.Count("pauses", len(nodes))
	return nodes
}

func (w *World) proceed(nodes []int) {
	w.mu.Lock()
	for _, i := range nodes {
		w.paused[i]--
	}
	w.mu.Unlock()
	for _, i := range nodes {
		w.Cluster.Resume(w.Cluster.Nodes[i])
	}
	w.Disturbed.end(nodes...)
}

// killedBySignal stands for an exit code where there is none.
const killedBySignal = -1

// allow says with which exit codes a node may end by itself; none takes it back.
func (w *World) allow(node int, codes ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expect[node] = codes
}

// ended returns the exit code of a node that has ended by itself in a way that was
// allowed, and notes that it is gone.
func (w *World) ended(node int) (code int, ok bool) {
	n := w.Cluster.Nodes[node]
	st := n.Exited()
	if st == nil {
		return 0, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return st.ExitCode(), slices.Contains(w.expect[node], st.ExitCode())
}

// WatchProcesses notices nodes that end by themselves, and starts them again. It ends
// with stop.
func (w *World) WatchProcesses(stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for i, n := range w.Cluster.Nodes {
			st := n.Exited()
			if st == nil {
				continue
			}
			if _, expected := w.ended(i); expected {
				continue // whoever expects it starts it again
			}
			how := fmt.Sprint(st)
			if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				how = ws.Signal().String()
			}
			w.Problems.Add("L0", "node %d ended by itself: %s\n%s", i+1, how, w.Cluster.LogTail(n, 12))
			w.Cluster.Kill(n) // it is gone; this says so
			if err := w.Cluster.Launch(n); err != nil {
				w.Problems.Add("L0", "node %d does not start again: %v", i+1, err)
			}
		}
	}
}

// commandTimeout bounds a command and its connection.
const commandTimeout = 2 * time.Second

// debug sends a DEBUG command to a node.
func (w *World) debug(node int, words ...string) (resp.Value, error) {
	return w.command(node, append([]string{"DEBUG"}, words...)...)
}

// command sends a command to a node. A reply that is an error is one, too.
func (w *World) command(node int, words ...string) (resp.Value, error) {
	c, err := client.Dial(node, w.Cluster.Nodes[node].Addr.Client, client.Options{Password: w.Password, Dial: commandTimeout, Reply: commandTimeout})
	if err != nil {
		return resp.Value{}, err
	}
	defer c.Close()
	v, _, err := c.Do(words...)
	if err == nil && v.IsErr() {
		err = errors.New(string(v.Str))
	}
	return v, err
}
