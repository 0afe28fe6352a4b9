package fault

import (
	"errors"
	"fmt"
	"maps"
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

// World is the cluster with its network, into which faults are injected, and their counts.
// Nodes are counted from 0. Node n is host n+1 of the lab.
type World struct {
	Cluster     *cluster.Cluster
	Lab         *netlab.Lab // nil: there are no network faults
	Problems    *check.Problems
	Shards      *measure.Shards
	Disturbed   *Disturbed
	Password    string // for clients; empty: none
	FaultyDisks bool   // the servers were built with the tag faults
	// HourJumps allows clock jumps of an hour. A run allows them only at its end, because
	// a shard's clock stands still for an hour after one.
	HourJumps atomic.Bool
	// Overload, if set, overloads the nodes for the time d and then returns.
	Overload func(rng *rand.Rand, d time.Duration)
	// SmallDisk is the node whose data directory is on a file system that can be filled;
	// negative: none.
	SmallDisk int
	// LogRecords is the number of records that a shard's log keeps.
	LogRecords int
	// Acked returns the number of XADDs acknowledged so far.
	Acked func() int
	// Lag returns by how much the harness itself ran late since the last call.
	Lag func() time.Duration
	// Logf logs a line.
	Logf func(format string, args ...any)

	mu      sync.Mutex                 // guards the fields below
	down    map[int]bool               // nodes that were killed and not yet started again
	paused  map[int]int                // number of faults that pause a node now
	held    map[int]bool               // nodes that one fault holds: see hold
	expect  map[int][]int              // exit codes with which a node may end by itself
	counts  map[string]int             // counters of the report
	samples map[string][]time.Duration // measured times by kind
}

// Prepare completes w. It is called before the first use, after Problems is set.
func (w *World) Prepare() {
	w.down, w.paused, w.held = map[int]bool{}, map[int]int{}, map[int]bool{}
	w.expect, w.counts, w.samples = map[int][]int{}, map[string]int{}, map[string][]time.Duration{}
}

// Count adds n to a counter of the report.
func (w *World) Count(name string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[name] += n
}

// Counts returns a copy of the report's counters.
func (w *World) Counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	maps.Copy(out, w.counts)
	return out
}

func (w *World) nodes() int { return len(w.Cluster.Nodes) }

// led returns the leader of each shard, the meta group included, by the status of the first
// node that answers; -1 for a shard without a leader.
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

// leader returns a random node among those that lead a shard.
func (w *World) leader(rng *rand.Rand) int {
	led := w.led()
	for range 4 * (len(led) + 1) {
		if n, ok := led[uint32(rng.IntN(max(len(led), 1)))]; ok && n >= 0 {
			return n
		}
	}
	return rng.IntN(w.nodes())
}

// follower returns a random node that probably leads few shards: the best of three draws.
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

// some returns n random nodes.
func (w *World) some(rng *rand.Rand, n int) []int { return rng.Perm(w.nodes())[:n] }

// majority returns the smallest number of nodes that is a majority.
func (w *World) majority() int { return w.nodes()/2 + 1 }

// hold reserves the first free one of nodes for one fault: a node is free if no other fault
// has killed, paused or held it. Until release, no other fault kills or pauses it. hold
// returns false when no node is free.
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

// release ends a hold.
func (w *World) release(node int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, node)
}

// kill kills those of nodes that no other fault has killed or holds, and returns them.
func (w *World) kill(nodes []int) []int {
	return w.fell(nodes, func(i int) { w.Cluster.Kill(w.Cluster.Nodes[i]) })
}

// fell calls end, side by side, for those of nodes that no other fault has killed or holds.
// It returns these nodes, which count as down until revive.
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

// revive starts nodes that kill or fell brought down, or that were asked to stop.
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

// pause pauses those of nodes that no other fault holds, and returns them.
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

// proceed continues nodes that pause returned.
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

// killedBySignal stands for the exit code of a process that a signal ended.
const killedBySignal = -1

// allow sets the exit codes with which a node may end by itself; none, if there are none.
func (w *World) allow(node int, codes ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expect[node] = codes
}

// ended returns the exit code of a node that has ended by itself, and whether that code is
// allowed.
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

// WatchProcesses reports nodes that end by themselves with no allowed exit code, and starts
// them again, until stop is closed.
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
				continue // the fault that allowed it starts the node again
			}
			how := fmt.Sprint(st)
			if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				how = ws.Signal().String()
			}
			w.Problems.Add("L0", "node %d ended by itself: %s\n%s", i+1, how, w.Cluster.LogTail(n, 12))
			w.Cluster.Kill(n) // the process has ended; this only notes it
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

// command sends a command to a node. It returns an error reply as an error.
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
