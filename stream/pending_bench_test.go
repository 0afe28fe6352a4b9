package stream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// BenchmarkMillionPending measures commands on a group with a million pending entries. No
// command may look at all of them: each should take less than a millisecond, with its commit.
// The benchmark also reports percentiles and the slowest call.
func BenchmarkMillionPending(b *testing.B) {
	const million = 1_000_000
	r := millionPending(b, million)
	id := func(n int) string { return fmt.Sprintf("%d-0", n) }
	next := 0
	rnd := rand.New(rand.NewPCG(1, 2))

	for _, bench := range []struct {
		name string
		line func() string
	}{
		{"XACK/head", func() string { next++; return "XACK s g " + id(next) }},
		{"XACK/anywhere", func() string { return "XACK s g " + id(million/2+rnd.IntN(million/4)) }},
		{"XREADGROUP/history", func() string { return "XREADGROUP GROUP g c3 COUNT 10 STREAMS s 0" }},
		{"XREADGROUP/CLAIM", func() string { return "XREADGROUP GROUP g c1 COUNT 10 CLAIM 1000 STREAMS s >" }},
		{"XREADGROUP/CLAIM-none", func() string { return "XREADGROUP GROUP g c1 COUNT 10 CLAIM 100000000 STREAMS s >" }},
		{"XCLAIM", func() string { return "XCLAIM s g c2 0 " + id(million*3/4+rnd.IntN(million/4)) }},
		{"XAUTOCLAIM/first", func() string { return "XAUTOCLAIM s g c2 1000 0 COUNT 10" }},
		{"XAUTOCLAIM/middle", func() string { return "XAUTOCLAIM s g c2 0 " + id(rnd.IntN(million)) + " COUNT 10" }},
		{"XAUTOCLAIM/young", func() string { return "XAUTOCLAIM s g c2 100000000 0" }},
		{"XNACK", func() string { return "XNACK s g FAIL IDS 1 " + id(million*3/4+rnd.IntN(million/4)) }},
		{"XPENDING/summary", func() string { return "XPENDING s g" }},
		{"XPENDING/range", func() string { return "XPENDING s g " + id(rnd.IntN(million)) + " + 10" }},
		{"XPENDING/consumer", func() string { return "XPENDING s g " + id(rnd.IntN(million)) + " + 10 c5" }},
		{"XPENDING/IDLE-all", func() string { return "XPENDING s g IDLE 1 - + 10" }},
		{"XPENDING/IDLE-none", func() string { return "XPENDING s g IDLE 100000000 - + 10" }},
		{"XPENDING/IDLE-few", func() string { return "XPENDING s g IDLE 900000 - + 10" }},
		{"XPENDING/IDLE-consumer-none", func() string { return "XPENDING s g IDLE 100000000 - + 10 c5" }},
		{"XINFO-GROUPS", func() string { return "XINFO GROUPS s" }},
		{"XINFO-CONSUMERS", func() string { return "XINFO CONSUMERS s g" }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				line := bench.line()
				r.nowMS++
				start := time.Now()
				if v := r.do(line); v.IsErr() {
					b.Fatalf("%s: %v", line, v)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
		})
	}
	if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
		b.Fatal(err)
	}
}

// millionPending returns a stream of n entries, one for each millisecond. All are pending,
// owned by ten consumers in turn, and were delivered a day after the time in their IDs.
func millionPending(b *testing.B, n int) *rig {
	cache := pebble.NewCache(256 << 20)
	defer cache.Unref()
	db, err := pebble.Open("", &pebble.Options{
		FS: vfs.NewMem(), Logger: quiet{}, Cache: cache, MemTableSize: 64 << 20, FormatMajorVersion: pebble.FormatNewest,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	r := &rig{t: b, db: db, state: stream.NewState(0, kv.Slots-1), nowMS: 1}
	const step = 1000
	for at := 1; at <= n; at += step {
		r.nowMS = int64(at)
		cmds := make([][][]byte, step)
		for i := range cmds {
			cmds[i] = argvOf("XADD", "s", fmt.Sprintf("%d-0", at+i), "field", "some value of an entry")
		}
		r.apply(cmds...)
	}
	r.do("XGROUP CREATE s g 0")
	for at := 0; at < n; at += step {
		r.nowMS = int64(86_400_000 + at)
		r.do(fmt.Sprintf("XREADGROUP GROUP g c%d COUNT %d STREAMS s >", at/step%10, step))
	}
	if err := db.Flush(); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkReadAck measures delivering and acknowledging one entry, with a hundred commands
// in a batch.
func BenchmarkReadAck(b *testing.B) {
	for _, count := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("count=%d", count), func(b *testing.B) {
			r := openRig(b)
			defer r.close()
			r.do("XGROUP CREATE s g 0 MKSTREAM")
			const perBatch = 50
			entries, next := perBatch*count, 0
			read := argvOf("XREADGROUP", "GROUP", "g", "c", "COUNT", fmt.Sprint(count), "STREAMS", "s", ">")
			for b.Loop() {
				b.StopTimer()
				adds := make([][][]byte, entries)
				acks := make([][][]byte, 0, perBatch)
				ack := argvOf("XACK", "s", "g")
				for i := range adds {
					next++
					id := fmt.Sprintf("%d-0", next)
					adds[i] = argvOf("XADD", "s", id, "field", "some value of an entry")
					if ack = append(ack, []byte(id)); len(ack) == 3+count {
						acks = append(acks, ack)
						ack = argvOf("XACK", "s", "g")
					}
				}
				r.apply(adds...)
				b.StartTimer()
				var cmds [][][]byte
				for _, ack := range acks {
					cmds = append(cmds, read, ack)
				}
				r.nowMS++
				r.apply(cmds...)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
		})
	}
}
