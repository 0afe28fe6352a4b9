package shard

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/call"
)

// benchCluster is three replicas in this process, with directories as disks.
func benchCluster(b *testing.B, onDisk bool) (*testCluster, *testNode) {
	t := &testing.T{}
	c := &testCluster{t: t, net: newTestNet(), ids: []string{"a", "b", "c"}, nodes: map[string]*testNode{}}
	c.founders = c.ids
	c.clock.Store(1_000_000)
	if onDisk {
		c.fsOf = func(string) vfs.FS { return dirFS{vfs.Default, b.TempDir()} }
	}
	c.tune = func(_ string, cfg *Config) {
		cfg.Timing = Timing{CommitTimeout: 100 * time.Millisecond}
	}
	c.startAll()
	b.Cleanup(c.closeAll)
	return c, c.leader()
}

// benchWrites keeps clients × depth writes of 100 bytes under way, b.N in all.
func benchWrites(b *testing.B, n *testNode, clients, depth int) {
	term := n.shard.lead.leads()
	payload := make([]byte, 100)
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	b.ResetTimer()
	for cl := range clients {
		wg.Go(func() {
			key := []byte(fmt.Sprint("stream", cl%8))
			room := make(chan struct{}, depth)
			for range b.N / clients {
				room <- struct{}{}
				n.shard.Submit(&call.Call{
					Shard: testShard, Term: term, Kind: call.Write, Proto: 2, TimeoutMS: 5000,
					Cmds: [][][]byte{{[]byte("APPEND"), key, payload}},
					Done: func(r call.Result) {
						if r.Err != nil {
							failed.Add(1)
						}
						<-room
					},
				})
			}
			for range depth {
				room <- struct{}{}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	took := time.Since(start)
	st := n.shard.Status()
	b.ReportMetric(float64(b.N)/took.Seconds(), "writes/s")
	b.ReportMetric(float64(st.Calls)/float64(max(1, st.Proposals)), "calls/record")
	if failed.Load() > 0 {
		b.Fatalf("%d of %d failed", failed.Load(), b.N)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, disk := range []bool{true, false} {
		for _, load := range []struct{ clients, depth int }{{50, 16}, {50, 1}, {1, 1}} {
			b.Run(fmt.Sprintf("disk=%v/%dx%d", disk, load.clients, load.depth), func(b *testing.B) {
				_, n := benchCluster(b, disk)
				benchWrites(b, n, load.clients, load.depth)
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	_, n := benchCluster(b, false)
	n.mustDo(b, call.Write, "APPEND", "k", "v")
	term := n.shard.lead.leads()
	for _, clients := range []int{1, 50} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			var wg sync.WaitGroup
			start := time.Now()
			for range clients {
				wg.Go(func() {
					done := make(chan call.Result, 1)
					for range b.N / clients {
						n.shard.Submit(&call.Call{
							Shard: testShard, Term: term, Kind: call.Read, Proto: 2, TimeoutMS: 5000,
							Cmds: [][][]byte{words("LEN", "k")}, Done: func(r call.Result) { done <- r },
						})
						if r := <-done; r.Err != nil {
							b.Error(r.Err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "reads/s")
		})
	}
}

// dirFS puts a node's relative paths below a directory.
type dirFS struct {
	vfs.FS
	dir string
}
