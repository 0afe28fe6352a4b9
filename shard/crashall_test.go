package shard

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/call"
)

// powerCuts is the number of power cuts in TestCrashAll.
func powerCuts(normal int) int {
	if n, err := strconv.Atoi(os.Getenv("SHARD_POWER_CUTS")); err == nil {
		return n
	}
	return normal
}

// counting is writers of one key each, which append 1, 2, 3 … to it.
type counting struct {
	acked   []atomic.Int64 // by key: the last acknowledged number
	total   atomic.Int64
	running atomic.Int64 // writers
	wg      sync.WaitGroup
}

func (w *counting) key(i int) string { return fmt.Sprint("k", i) }

// start makes all writers go on through a leader until one of their calls fails.
func (w *counting) start(t *testing.T, s *Shard) {
	term := s.lead.leads()
	w.running.Add(int64(len(w.acked)))
	for k := range w.acked {
		w.wg.Go(func() {
			defer w.running.Add(-1)
			for i := w.acked[k].Load() + 1; ; i++ {
				c, done := newCall(call.Write, term, "APPEND", w.key(k), strconv.FormatInt(i, 10))
				s.Submit(c)
				if _, err := await(t, done); err != nil {
					return
				}
				w.acked[k].Store(i)
				w.total.Add(1)
			}
		})
	}
}

// load makes the writers go on until the given number of writes was acknowledged, and
// returns while they write. On a busy machine the leadership may move by itself; then
// they begin again.
func (w *counting) load(t *testing.T, c *testCluster, more int64) {
	enough := w.total.Load() + more
	for w.start(t, c.leader().shard); ; w.start(t, c.leader().shard) {
		c.eventually("load", func() bool { return w.total.Load() >= enough || w.running.Load() == 0 })
		if w.total.Load() >= enough {
			return
		}
		w.wg.Wait()
		n := c.leader()
		n.mustDo(t, call.Write, "APPEND", "barrier", "x") // writes in doubt come before it, or never
		w.settle(t, n, w.now())
	}
}

// now returns the last acknowledged number of each key.
func (w *counting) now() []int64 {
	must := make([]int64, len(w.acked))
	for k := range must {
		must[k] = w.acked[k].Load()
	}
	return must
}

// settle compares a leader's values with the numbers acknowledged when the power went,
// and takes the values as the new start. The writes under way at the cut may have been
// done or not.
func (w *counting) settle(t *testing.T, n *testNode, must []int64) {
	t.Helper()
	for k := range w.acked {
		list := values(n.mustDo(t, call.Read, "RANGE", w.key(k)))
		for i, v := range list {
			if v != strconv.Itoa(i+1) {
				t.Fatalf("%s: value %d is %s", w.key(k), i+1, v)
			}
		}
		if int64(len(list)) < must[k] {
			t.Fatalf("%s: %d values, %d were acknowledged", w.key(k), len(list), must[k])
		}
		w.acked[k].Store(int64(len(list)))
	}
}

// The power of all three replicas is cut at once, again and again, under load, while
// snapshots are taken and logs truncated. Each disk keeps everything that was synced and
// some part of the rest. When the replicas are back, every acknowledged write is there,
// and their states are the same.
func TestCrashAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 1))
	c := newTestCluster(t, "a", "b", "c")
	c.fsOf = func(string) vfs.FS { return vfs.NewCrashableMem() }
	c.tune = smallLogs(40)
	c.startAll()
	w := &counting{acked: make([]atomic.Int64, 6)}
	var snapshots uint64
	for range powerCuts(5) {
		w.load(t, c, 100+rng.Int64N(400))

		// The disks are cloned one by one. A replica's messages after its clone was taken
		// must not reach another whose clone is still to come.
		for _, id := range c.ids {
			c.net.isolate(id, c.ids, true, true)
		}
		must := w.now()
		after := map[string]vfs.FS{}
		for _, i := range rng.Perm(len(c.ids)) {
			percent := []int{0, 0, 100, rng.IntN(100)}[rng.IntN(4)]
			after[c.ids[i]] = c.nodes[c.ids[i]].fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		}
		for _, id := range c.ids {
			snapshots += c.nodes[id].shard.Status().SnapshotsTaken
			c.stop(id)
			c.nodes[id].fs = after[id]
		}
		w.wg.Wait()
		for _, id := range c.ids {
			c.net.isolate(id, c.ids, false, true)
		}
		c.startAll()
		w.settle(t, c.leader(), must)
		c.converge()
	}
	if snapshots == 0 {
		t.Fatal("no snapshot was taken: the test shows little")
	}
}
