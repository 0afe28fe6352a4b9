package stream_test

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/raftlog/disk"
	"millrace/resp"
	"millrace/stream"
)

// BenchmarkXADD measures the work of a replica for each XADD. It applies batches of 64
// commands to some streams in turn, and measures with and without the commits.
func BenchmarkXADD(b *testing.B) {
	for _, c := range []struct {
		name    string
		streams int
		words   []string // after the key
	}{
		{"streams=1", 1, []string{"*", "data"}},
		{"streams=16", 16, []string{"*", "data"}},
		{"streams=1000", 1000, []string{"*", "data"}},
		{"maxlen", 1, []string{"MAXLEN", "10000", "*", "data"}},
		{"maxlen~", 1, []string{"MAXLEN", "~", "10000", "*", "data"}},
	} {
		for _, commit := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/commit=%v", c.name, commit), func(b *testing.B) { benchmarkXADD(b, c.streams, c.words, commit) })
		}
	}
}

func benchmarkXADD(b *testing.B, streams int, words []string, commit bool) {
	const batchSize, valueSize = 64, 100
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}, MemTableSize: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	value := make([]byte, valueSize)
	for i := range value {
		value[i] = 'x'
	}
	cmds := make([][][]byte, streams)
	for i := range cmds {
		cmds[i] = append(argvOf(append([]string{"XADD", fmt.Sprintf("stream:%d", i)}, words...)...), value)
	}
	state := stream.NewState(0, kv.Slots-1)
	b.ReportAllocs()
	b.ResetTimer()
	next := 0
	one := make([][][]byte, 1)
	for done := 0; done < b.N; done += batchSize {
		batch := db.NewIndexedBatch()
		kv := pebblekv.NewBatch(batch)
		for range min(batchSize, b.N-done) {
			one[0] = cmds[next%streams]
			next++
			if _, _, err := state.Apply(kv, int64(1_000_000+next/100), one); err != nil {
				b.Fatal(err)
			}
		}
		if err := state.Flush(kv); err != nil {
			b.Fatal(err)
		}
		state.Touched()
		if !commit {
			b.StopTimer()
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			b.Fatal(err)
		}
		state.Committed()
		if !commit {
			b.StartTimer()
		}
	}
}

var deadEntries = flag.Int("dead", 300_000, "entries that are trimmed or deleted in BenchmarkHeadOfQueue")

// BenchmarkHeadOfQueue reads the first entries of a stream from which many entries were
// trimmed, one by one or by chunks, or deleted with XDEL. The dead entries before the first
// live one must not slow the reads down, neither right away nor after a compaction. For
// comparison each read is also made of a fresh stream in the same database. The benchmark
// reports the medians of both.
func BenchmarkHeadOfQueue(b *testing.B) {
	for _, how := range []string{"MAXLEN", "MAXLEN ~", "XDEL"} {
		b.Run(how, func(b *testing.B) {
			r := nodeRig(b)
			r.queue("s", *deadEntries+queueLive, how)
			r.queue("fresh", queueLive, "")
			b.Run("at once", func(b *testing.B) { benchmarkQueue(b, r) })
			lo, hi := kv.SlotBounds(0, kv.Slots-1)
			if err := r.db.Compact(b.Context(), lo, hi, false); err != nil {
				b.Fatal(err)
			}
			b.Run("compacted", func(b *testing.B) { benchmarkQueue(b, r) })
		})
	}
}

func benchmarkQueue(b *testing.B, r *rig) {
	read := func(words ...string) func() []resp.Value {
		argv := argvOf(words...)
		return func() []resp.Value { return []resp.Value{r.run(argv)} }
	}
	for _, bench := range []struct {
		name string
		of   func(key string) func() []resp.Value
	}{
		{"XRANGE", func(key string) func() []resp.Value { return read("XRANGE", key, "-", "+", "COUNT", "10") }},
		{"XREVRANGE", func(key string) func() []resp.Value { return read("XREVRANGE", key, "+", "-", "COUNT", "10") }},
		{"XREAD", func(key string) func() []resp.Value { return read("XREAD", "COUNT", "10", "STREAMS", key, "0") }},
		{"XLEN", func(key string) func() []resp.Value { return read("XLEN", key) }},
		// The first read of a new group, with creating and destroying the group.
		{"XREADGROUP", func(key string) func() []resp.Value {
			cmds := [][][]byte{
				argvOf("XGROUP", "CREATE", key, "g", "0"),
				argvOf("XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "STREAMS", key, ">"),
				argvOf("XGROUP", "DESTROY", key, "g"),
			}
			return func() []resp.Value { return r.apply(cmds...) }
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			dead, fresh := stopwatch{call: bench.of("s")}, stopwatch{call: bench.of("fresh")}
			for b.Loop() {
				dead.run(b)
				fresh.run(b)
			}
			b.ReportMetric(dead.medianUS(), "dead-µs")
			b.ReportMetric(fresh.medianUS(), "fresh-µs")
		})
	}
}

// stopwatch measures the durations of calls.
type stopwatch struct {
	call func() []resp.Value
	took []time.Duration
}

// run makes the call. None of its replies may be an error or null.
func (s *stopwatch) run(b *testing.B) {
	start := time.Now()
	replies := s.call()
	s.took = append(s.took, time.Since(start))
	for _, v := range replies {
		if v.IsErr() || v.IsNull() {
			b.Fatal(v)
		}
	}
}

func (s *stopwatch) medianUS() float64 {
	slices.Sort(s.took)
	return float64(s.took[len(s.took)/2].Nanoseconds()) / 1e3
}

// queueLive is the number of entries that a queue keeps.
const queueLive = 100

// queue adds n entries to key in records of 1000 commands. how is "MAXLEN", "MAXLEN ~" or
// "XDEL", which deletes all but the last queueLive entries on the way, or "".
func (r *rig) queue(key string, n int, how string) {
	const batch = 1000
	id := func(n int) string { return strconv.Itoa(n) + "-0" }
	for next := 1; next <= n; {
		var cmds [][][]byte
		del := []string{"XDEL", key}
		for ; len(cmds) < batch && next <= n; next++ {
			words := []string{"XADD", key}
			if trim := strings.Fields(how); len(trim) > 0 && trim[0] == "MAXLEN" {
				words = append(append(words, trim...), strconv.Itoa(queueLive))
			}
			cmds = append(cmds, argvOf(append(words, id(next), "f", "v")...))
			if next > queueLive {
				del = append(del, id(next-queueLive))
			}
		}
		if how == "XDEL" && len(del) > 2 {
			cmds = append(cmds, argvOf(del...))
		}
		r.apply(cmds...)
	}
}

// nodeRig returns a rig on a database with the options of a node's state database, but in
// memory.
func nodeRig(t testing.TB) *rig {
	t.Helper()
	cache := disk.NewCache(nodeCacheBytes, disk.DefaultMemTableBytes, 1)
	defer cache.Unref()
	db, err := disk.Open("state", disk.Options{
		Name: "state", FS: vfs.NewMem(), Cache: cache,
		Fatal: func(_ disk.Class, err error) { panic(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return &rig{t: t, db: db.DB, state: stream.NewState(0, kv.Slots-1), nowMS: 1_000_000}
}

// nodeCacheBytes is the size of the block cache of a node with a memory budget of 512 MiB.
const nodeCacheBytes = 64 << 20
