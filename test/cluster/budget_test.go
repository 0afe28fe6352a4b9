package cluster

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestGiantExec sends one MULTI of 60 KB that asks for gigabytes of replies, with a write
// among them, and one without. Neither takes memory, on any node, or holds the shard, also not
// when the nodes start again and read their logs.
func TestGiantExec(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 1})
	cl := client(c.Nodes[0].Addr.Client)
	defer cl.Close()
	ctx := t.Context()
	for range 20 {
		p := cl.Pipeline()
		for range 250 {
			p.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"f", strings.Repeat("v", 1000)}})
		}
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const ranges = 2000 // 31 bytes each, for 5 MB of entries
	giant := func(write bool) error {
		_, err := cl.TxPipelined(ctx, func(p redis.Pipeliner) error {
			if write {
				p.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"f", "lost"}})
			}
			for range ranges {
				p.XRange(ctx, "s", "-", "+")
			}
			return nil
		})
		return err
	}
	check := func(when string) {
		t.Helper()
		if n, err := cl.XLen(ctx, "s").Result(); err != nil || n != 5000 {
			t.Errorf("%s: %d entries, %v", when, n, err)
		}
		for _, n := range c.Nodes {
			if peak := peakBytes(t, n.PID()); peak > 400<<20 && len(raceFlags) == 0 {
				t.Errorf("%s: node %d has used %d MiB", when, n.Index+1, peak>>20)
			}
		}
	}
	for _, write := range []bool{true, false} {
		if err := giant(write); err == nil || !strings.HasPrefix(err.Error(), "EXECABORT ") {
			t.Errorf("an EXEC of %d ranges, with a write: %v: %v", ranges, write, err)
		}
		check("after it")
	}
	for _, n := range c.Nodes {
		c.Kill(n)
	}
	for _, n := range c.Nodes {
		c.Restart(n)
	}
	c.WaitHealthy()
	check("after a restart")
}
