package stream_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/stream"
	"millrace/stream/pebblekv"
)

// BenchmarkXADD applies XADDs in batches of 64 over one indexed batch, to some streams
// in turn, commits included apart: what a replica does for each command.
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
	state := stream.NewState(0, stream.Slots-1)
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
			if _, err := state.Apply(kv, int64(1_000_000+next/100), one); err != nil {
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

var deadEntries = flag.Int("dead", 300_000, "entries that are trimmed in BenchmarkHeadOfQueue")

// BenchmarkHeadOfQueue reads the first entries of a stream from which so many have been
// trimmed, one by one or by nodes, or deleted with XDEL, and of a fresh one: the dead ones
// before the first must not matter.
func BenchmarkHeadOfQueue(b *testing.B) {
	const batch, live = 1000, 100
	id := func(n int) string { return strconv.Itoa(n) + "-0" }
	for _, how := range []string{"fresh", "MAXLEN 100", "MAXLEN ~ 100", "XDEL"} {
		b.Run(how, func(b *testing.B) {
			r := newRig(b)
			last := *deadEntries + live
			if how == "fresh" {
				last = live
			}
			for next := 1; next <= last; {
				var cmds [][][]byte
				for ; len(cmds) < batch && next <= last; next++ {
					words := []string{"XADD", "s"}
					if strings.HasPrefix(how, "MAXLEN") {
						words = append(words, strings.Fields(how)...)
					}
					cmds = append(cmds, argvOf(append(words, id(next), "f", "v")...))
					if how == "XDEL" && next > live {
						cmds = append(cmds, argvOf("XDEL", "s", id(next-live)))
					}
				}
				r.apply(cmds...)
			}
			b.ResetTimer()
			for range b.N {
				if v := r.do("XRANGE s - + COUNT 10"); len(v.Elems) != 10 {
					b.Fatal(v)
				}
			}
		})
	}
}
