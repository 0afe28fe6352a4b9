package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Exit codes of a node with a bad disk.
const (
	exitDiskFull    = 10
	exitDiskFailing = 11
	exitCorrupt     = 12
)

// filler is the file that fills a small disk.
const filler = "filler"

// diskFull fills the disk of the node with the small one. The node refuses writes or exits
// with exitDiskFull. Healing frees the space and starts the node again.
func diskFull(w *World, rng *rand.Rand) (*injury, error) {
	n := w.Cluster.Nodes[w.SmallDisk]
	path := filepath.Join(filepath.Dir(n.Dir), filler)
	w.allow(w.SmallDisk, exitDiskFull)
	w.Disturbed.begin(w.SmallDisk)
	if err := fill(path); err != nil {
		return nil, err
	}
	w.Count("disk full", 1)
	nodes := []int{w.SmallDisk}
	return &injury{what: "disk full: " + names(nodes), nodes: nodes, hold: between(rng, 2*time.Second, 8*time.Second), heal: func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return w.recover(w.SmallDisk, "disk full")
	}}, nil
}

// recover lifts the fault of a node's disk. If the node has ended in an allowed way, it
// starts the node again.
func (w *World) recover(node int, counter string) error {
	code, ended := w.ended(node)
	if !ended {
		for deadline := time.Now().Add(clockPatience); ; time.Sleep(100 * time.Millisecond) {
			if _, err := w.debug(node, "FAULT", "CLEAR"); err == nil {
				break
			}
			if code, ended = w.ended(node); ended {
				break // it ended between the two calls
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("node %d: the fault of its disk could not be lifted within %v", node+1, clockPatience)
			}
		}
	}
	if ended {
		how := fmt.Sprintf("exits with %d", code)
		if code == killedBySignal {
			how = "dies"
		}
		w.Count(fmt.Sprintf("%s: %s", counter, how), 1)
		w.Cluster.Kill(w.Cluster.Nodes[node]) // the process has ended; this only notes it
		if err := w.Cluster.Launch(w.Cluster.Nodes[node]); err != nil {
			return err
		}
	}
	w.allow(node)
	w.Disturbed.end(node)
	return nil
}

// disk returns a fault of a disk that fails by a rule of faultfs. The fault holds until the
// node ends with one of codes, or for a time between lo and hi; with must, the node has to
// end in that time. The node leads a shard that clients write to, because one with the meta
// group only may not write, and so not meet the fault, for a minute.
func disk(counter string, rule []string, lo, hi time.Duration, must bool, codes ...int) inject {
	return func(w *World, rng *rand.Rand) (*injury, error) {
		s, ok := w.shard(rng, 0, -1)
		if !ok {
			return noNode(counter), nil
		}
		n := s.leader
		w.allow(n, codes...)
		w.Disturbed.begin(n)
		if _, err := w.debug(n, append([]string{"FAULT"}, rule...)...); err != nil {
			return nil, err
		}
		w.Count(counter, 1)
		what := fmt.Sprintf("%s: node %d", counter, n+1)
		hold := between(rng, lo, hi)
		began := time.Now()
		for ; time.Since(began) < hold; time.Sleep(50 * time.Millisecond) {
			if _, ended := w.ended(n); ended {
				break
			}
		}
		return &injury{what: what, nodes: []int{n}, heal: func() error {
			if _, ended := w.ended(n); must && !ended {
				w.Problems.Add("L0", "%s: the node did not exit with one of %v within %v", what, codes, hold)
			}
			if !must && len(codes) > 0 {
				w.awaitEnd(n, noticeWithin)
			}
			return w.recover(n, counter)
		}}, nil
	}
}

// noticeWithin bounds the time in which a node notices that it has read damaged bytes, and
// ends.
const noticeWithin = 3 * time.Second

// awaitEnd waits until a node has ended. It returns at once if the rule of the fault has
// not struck yet, because then the node has no reason to end.
func (w *World) awaitEnd(node int, within time.Duration) {
	v, err := w.debug(node, "FAULT")
	if err == nil && len(v.Elems) == 1 && strings.HasSuffix(string(v.Elems[0].Str), "struck 0)") {
		return
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, ended := w.ended(node); ended {
			return
		}
	}
}
