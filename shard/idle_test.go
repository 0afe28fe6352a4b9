package shard

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/raftlog"
	"millrace/raftlog/disk"
)

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkIdle measures the cost of many shards that have nothing to do: three replicas
// of each, in this process, with the default timers. Run it with -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	const shards = 64
	nodes := []string{"a", "b", "c"}
	slots := make(chan struct{}, 2)
	var all []*Shard
	nets := make([]*testNet, shards)
	for i := range nets {
		nets[i] = newTestNet()
	}
	for _, id := range nodes {
		fs := vfs.NewMem()
		log, err := raftlog.Open("raftlog", raftlog.Options{FS: fs})
		if err != nil {
			b.Fatal(err)
		}
		state, err := disk.Open("state", disk.Options{Name: "state", FS: fs})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = log.Close(); _ = state.Close() })
		for i, net := range nets {
			s, err := Open(Config{
				ID: uint32(i + 1), NodeID: id, FirstSlot: uint16(i * 100), LastSlot: uint16(i*100 + 99),
				Machine: newListMachine(uint16(i * 100)), Log: log.Store(uint32(i + 1)), State: state.DB,
				StagingDir: "staging", FS: fs, SnapshotSlots: slots,
				Transport: func() raft.Transport { return net.endpoint(id) }, Prober: prober{net, id},
				Clock: func() int64 { return 1 }, Founders: nodes,
			})
			if err != nil {
				b.Fatal(err)
			}
			net.register(id, s)
			all = append(all, s)
		}
	}
	b.Cleanup(func() {
		for _, s := range all {
			_ = s.Close()
		}
	})
	waitFor(b, fmt.Sprint(shards, " leaders"), func() bool {
		n := 0
		for _, s := range all {
			if s.Status().Ready {
				n++
			}
		}
		return n == shards
	})
	for b.Loop() {
		time.Sleep(2 * time.Second) // settle
		const over = 5 * time.Second
		before := cpuTime()
		time.Sleep(over)
		b.ReportMetric(100*float64(cpuTime()-before)/float64(over), "%core")
	}
}
