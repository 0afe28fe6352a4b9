package cluster

import (
	"bytes"
	"context"
	enc "encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var memoryBytes = flag.Int64("memory-bytes", 32<<20, "how many bytes of entries TestMemory writes")

const (
	memoryBudget  = "256MiB"
	memoryRSS     = 500 << 20 // limit of the resident memory of the process
	memoryValue   = 4 << 10
	memoryStreams = 8
	memoryBatch   = 64
	memoryRanges  = 400
)

// TestMemory writes far more than a node's memory budget and reads ranges from random places.
// The node's resident memory must stay below memoryRSS all the time. The default of
// -memory-bytes only checks the test itself; use more than the budget for a real run.
func TestMemory(t *testing.T) {
	if len(raceFlags) > 0 {
		t.Skip("the memory of the race detector would be measured, too")
	}
	c := Start(t, Options{Nodes: 1, Args: []string{"--memory", memoryBudget}})
	n := c.Nodes[0]
	cl := redis.NewClient(&redis.Options{Addr: n.Addr.Client, MaxRetries: -1, ReadTimeout: time.Minute})
	defer cl.Close()
	ctx := context.Background()
	perStream := int(*memoryBytes / memoryValue / memoryStreams)
	peak := int64(0)
	shown := time.Now()
	for i := 0; i < perStream; i += memoryBatch {
		pipe := cl.Pipeline()
		for s := range memoryStreams {
			for j := i; j < min(i+memoryBatch, perStream); j++ {
				pipe.Do(ctx, "XADD", memoryStream(s), fmt.Sprintf("%d-0", j+1), "v", memoryPayload(s, j))
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		peak = max(peak, residentBytes(t, n.PID()))
		if time.Since(shown) > 10*time.Second {
			shown = time.Now()
			t.Logf("%d MiB written, resident %d MiB", int64(i)*memoryStreams*memoryValue>>20, peak>>20)
		}
	}
	t.Logf("%d MiB in %d streams, budget %s: resident at most %d MiB while writing", *memoryBytes>>20, memoryStreams, memoryBudget, peak>>20)
	start := time.Now()
	for range memoryRanges {
		s, from := rand.IntN(memoryStreams), rand.IntN(max(1, perStream-100))
		ms, err := cl.XRangeN(ctx, memoryStream(s), fmt.Sprint(from+1), "+", 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		for k, m := range ms {
			if want := fmt.Sprintf("%d-0", from+k+1); m.ID != want {
				t.Fatalf("entry %d from %d of %s is %s, want %s", k, from, memoryStream(s), m.ID, want)
			}
			if got := m.Values["v"].(string); got != memoryPayload(s, from+k) {
				t.Fatalf("%s %s holds another value than was written", memoryStream(s), m.ID)
			}
		}
		if len(ms) != min(100, perStream-from) {
			t.Fatalf("%d entries from %d of %s", len(ms), from, memoryStream(s))
		}
		peak = max(peak, residentBytes(t, n.PID()))
	}
	t.Logf("%d ranges of 100 entries from anywhere: %v each; resident at most %d MiB", memoryRanges, (time.Since(start) / memoryRanges).Round(time.Microsecond), peak>>20)
	if peak > memoryRSS {
		t.Errorf("resident with %d MiB, more than %d MiB", peak>>20, memoryRSS>>20)
	}
}

func memoryStream(s int) string { return fmt.Sprintf("memory-%d", s) }

// memoryPayload returns the value of entry j of stream s. It cannot be compressed.
func memoryPayload(s, j int) string {
	var seed [32]byte
	enc.BigEndian.PutUint64(seed[:], uint64(s))
	enc.BigEndian.PutUint64(seed[8:], uint64(j))
	b := make([]byte, memoryValue)
	rand.NewChaCha8(seed).Read(b)
	return string(b)
}

// residentBytes returns the resident memory of a process, and peakBytes the most that it
// has had.
func residentBytes(t *testing.T, pid int) int64 { return memoryOf(t, pid, "VmRSS:") }
func peakBytes(t *testing.T, pid int) int64     { return memoryOf(t, pid, "VmHWM:") }

// memoryOf returns a line of Linux's /proc/PID/status in bytes.
func memoryOf(t *testing.T, pid int, field string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if rest, ok := strings.CutPrefix(string(line), field); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s is this Linux?", field)
	return 0
}
