package stream_test

import (
	"fmt"
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

// BenchmarkHeadOfQueue reads the first entry of a stream from which 300000 have been
// trimmed, one by one or by nodes: the dead ones before it must not matter.
func BenchmarkHeadOfQueue(b *testing.B) {
	for _, trim := range []string{"MAXLEN 100", "MAXLEN ~ 100"} {
		b.Run(trim, func(b *testing.B) {
			r := newRig(b)
			const batch = 1000
			for i := range 300 {
				var cmds [][][]byte
				for j := range batch {
					cmds = append(cmds, argvOf(append(append([]string{"XADD", "s"}, strings.Fields(trim)...), fmt.Sprint(i*batch+j+1), "f", "v")...))
				}
				r.apply(cmds...)
			}
			b.ResetTimer()
			for range b.N {
				if v := r.do("XRANGE s - + COUNT 1"); len(v.Elems) != 1 {
					b.Fatal(v)
				}
			}
		})
	}
}
