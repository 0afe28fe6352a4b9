package raftlog

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// BenchmarkStoreLogs appends records on a real disk from several shards at once. One
// operation is one StoreLog call. The more shards append, the less time each operation
// takes, because they share fsyncs.
func BenchmarkStoreLogs(b *testing.B) {
	for _, size := range []int{100, 16 << 10, 128 << 10} {
		for _, shards := range []int{1, 3, 8} {
			b.Run(fmt.Sprintf("bytes=%d/shards=%d", size, shards), func(b *testing.B) {
				db, err := Open(b.TempDir(), Options{FS: vfs.Default, CacheBytes: 32 << 20})
				if err != nil {
					b.Fatal(err)
				}
				defer closeDB(b, db)
				data := make([]byte, size)
				for i := range data {
					data[i] = byte(i * 7)
				}
				var left atomic.Int64
				left.Store(int64(b.N))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for shard := range uint32(shards) {
					s := db.Store(shard)
					wg.Go(func() {
						for i := uint64(1); left.Add(-1) >= 0; i++ {
							if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: data}); err != nil {
								b.Error(err)
								return
							}
							if i%2000 == 0 {
								_ = s.DeleteRange(1, i-1000)
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				m := db.Metrics()
				b.ReportMetric(float64(m.SyncTime.Microseconds())/float64(m.Syncs), "µs/call")
			})
		}
	}
}

// BenchmarkGetLog reads records from the cache, and from disk.
func BenchmarkGetLog(b *testing.B) {
	for _, cacheBytes := range []int64{64 << 20, -1} {
		b.Run(fmt.Sprintf("cache=%d", cacheBytes), func(b *testing.B) {
			db := openMem(b, Options{CacheBytes: cacheBytes})
			s := db.Store(1)
			storeLogs(b, s, commands(1, 1000, 1))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var l raft.Log
				if err := s.GetLog(uint64(i%1000)+1, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
