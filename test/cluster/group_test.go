package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The load of TestGroupOverAllShards.
const (
	groupStreams   = 50
	groupConsumers = 9 // at the same time
	groupWriters   = 2
	groupTime      = 9 * time.Second        // duration of the load; the node is killed after a third of it
	vanishEvery    = 100 * time.Millisecond // average time between two ended connections
	lateEntries    = 2 * groupStreams
)

// entrySet is a set of entries, each in the form "stream ID".
type entrySet map[string]bool

// add adds an entry, and reports whether it is new.
func (s entrySet) add(e string) bool {
	known := s[e]
	s[e] = true
	return !known
}

// groupReader is a consumer with one connection; both end together. It acknowledges nothing,
// so that all entries delivered to it stay pending for it.
type groupReader struct {
	name  string
	block time.Duration // negative if it does not block
	cl    *redis.Client
	got   entrySet // entries in its replies
	cut   bool     // its last call ended without a reply, so it may own entries that it does not know
}

// readers are all consumers of a run.
type readers struct {
	t       *testing.T
	c       *Cluster
	streams []string

	mu      sync.Mutex
	stopped bool                         // guarded by mu: no more consumers
	current [groupConsumers]*groupReader // guarded by mu
	past    []*groupReader               // guarded by mu; each reader's fields belong to its goroutine until that ends
}

// TestGroupOverAllShards has consumers of one group read 50 streams on all shards of three
// nodes, with and without BLOCK. Connections end at random, and a node that leads shards is
// killed and comes back. Every entry must be delivered exactly once: the entries pending for
// a consumer are those in its replies and, if its connection ended during a call, those
// delivered by that call. After all connections have ended, no entry may be delivered to any
// of their calls.
func TestGroupOverAllShards(t *testing.T) {
	c := Start(t, Options{})
	l := NewLedger()
	r := &readers{t: t, c: c}
	for i := range groupStreams {
		r.streams = append(r.streams, fmt.Sprintf("group-%d", i))
	}
	createGroups(t, c, r.streams)

	var reading, writing sync.WaitGroup
	for n := range groupConsumers {
		reading.Go(func() { r.run(n) })
	}
	ctx, stopWriters := context.WithCancel(context.Background())
	defer stopWriters()
	for w := range groupWriters {
		writing.Go(func() { produce(ctx, c, l, w, r.streams) })
	}
	cuts := r.vanish(groupTime / 3)
	victim := c.Leader(c.Nodes[0], 1)
	if victim == nil {
		t.Fatal("shard 1 has no leader")
	}
	c.Kill(victim)
	cuts += r.vanish(groupTime / 3)
	c.Restart(victim)
	cuts += r.vanish(groupTime / 3)
	stopWriters()
	writing.Wait()
	c.WaitHealthy()

	cl := client(c.Nodes[0].Addr.Client)
	defer cl.Close()
	want := entries(t, cl, r.streams)
	eventually(t, "all entries are delivered", func() bool { return pendingCount(t, cl, r.streams) == len(want) })
	r.stop()
	reading.Wait()
	for _, n := range c.Nodes {
		eventually(t, "no blocked call is left", func() bool { return blockedCalls(t, n) == 0 })
	}
	r.check(cl, want)
	for i, n := range c.Nodes {
		checkReplica(t, l, fmt.Sprintf("node %d", i+1), n, r.streams)
	}
	r.checkLate(cl, want)
	for _, p := range l.Problems() {
		t.Error(p)
	}
	acked, unknown, _, _ := l.Counts()
	t.Logf("%d XADDs acknowledged, %d unknown; %d consumers, of which %d connections were ended on purpose", acked, unknown, len(r.past), cuts)
	if acked < groupStreams || cuts < 10 {
		t.Error("too little happened for the run to prove anything")
	}
}

// run runs one consumer after another until stop is called.
func (r *readers) run(n int) {
	blocks := []time.Duration{0, 30 * time.Millisecond, -1}
	for life := 0; ; life++ {
		g := &groupReader{
			name: fmt.Sprintf("c%d-%d", n, life), block: blocks[n%len(blocks)], got: entrySet{},
			cl: client(r.c.Nodes[(n+life)%len(r.c.Nodes)].Addr.Client),
		}
		if g.cl.Ping(context.Background()).Err() == nil {
			if !r.begin(n, g) {
				g.cl.Close()
				return
			}
			g.read(r)
		} else if !r.begin(n, nil) { // its node is down; the next consumer connects to another node
			g.cl.Close()
			return
		}
		g.cl.Close()
		pause(context.Background(), 5*time.Millisecond)
	}
}

// begin makes g the n-th consumer. It returns false if stop was called.
func (r *readers) begin(n int, g *groupReader) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.current[n] = g
	if g != nil {
		r.past = append(r.past, g)
	}
	return true
}

// read reads until a call fails, which it does when the connection ends.
func (g *groupReader) read(r *readers) {
	for {
		twice, err := g.call(r.streams, 2)
		if twice != "" {
			r.t.Errorf("%s got %s twice", g.name, twice)
		}
		switch {
		case errors.Is(err, redis.Nil):
			pause(context.Background(), time.Millisecond) // otherwise calls without BLOCK would use up the processor
			continue
		case err != nil:
			g.cut = true
			return
		}
	}
}

// call reads once from all streams, at most count entries of each, and adds them to got. If
// an entry was in got already, call returns it as twice.
func (g *groupReader) call(streams []string, count int64) (twice string, err error) {
	got, err := g.cl.XReadGroup(context.Background(), &redis.XReadGroupArgs{
		Group: killGroup, Consumer: g.name, Count: count, Block: g.block,
		Streams: append(append([]string(nil), streams...), strings.Split(strings.Repeat(">", len(streams)), "")...),
	}).Result()
	for _, s := range got {
		for _, m := range s.Messages {
			if e := s.Stream + " " + m.ID; !g.got.add(e) {
				twice = e
			}
		}
	}
	return twice, err
}

// vanish ends random connections during d, and returns their number.
func (r *readers) vanish(d time.Duration) (cuts int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(rand.N(2 * vanishEvery))
		r.mu.Lock()
		g := r.current[rand.IntN(groupConsumers)]
		r.mu.Unlock()
		if g != nil {
			g.cl.Close()
			cuts++
		}
	}
	return cuts
}

// stop ends all connections for good.
func (r *readers) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	for _, g := range r.current {
		if g != nil {
			g.cl.Close()
		}
	}
}

// entries returns all entries of the streams.
func entries(t *testing.T, cl *redis.Client, streams []string) entrySet {
	t.Helper()
	out := entrySet{}
	for _, s := range streams {
		ms, err := cl.XRange(context.Background(), s, "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			out.add(s + " " + m.ID)
		}
	}
	return out
}

// pendingCount returns the number of pending entries.
func pendingCount(t *testing.T, cl *redis.Client, streams []string) (count int) {
	t.Helper()
	for _, s := range streams {
		p, err := cl.XPending(context.Background(), s, killGroup).Result()
		if err != nil {
			t.Fatal(err)
		}
		count += int(p.Count)
	}
	return count
}

// blockedCalls returns the number of blocked calls in all shards of a node.
func blockedCalls(t *testing.T, n *Node) (count int) {
	t.Helper()
	answer, err := http.Get("http://" + n.Addr.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(name, "millrace_shard_blocked_calls{") {
			k, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			count += k
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return count
}

// pending returns the pending entries of each consumer. It fails the test if one of them was
// delivered more than once.
func (r *readers) pending(cl *redis.Client, limit int) map[string]entrySet {
	r.t.Helper()
	out := map[string]entrySet{}
	for _, s := range r.streams {
		list, err := cl.XPendingExt(context.Background(), &redis.XPendingExtArgs{
			Stream: s, Group: killGroup, Start: "-", End: "+", Count: int64(limit),
		}).Result()
		if err != nil {
			r.t.Fatal(err)
		}
		for _, p := range list {
			if out[p.Consumer] == nil {
				out[p.Consumer] = entrySet{}
			}
			out[p.Consumer].add(s + " " + p.ID)
			if p.RetryCount != 1 {
				r.t.Errorf("%s %s was delivered %d times", s, p.ID, p.RetryCount)
			}
		}
	}
	return out
}

// check compares the entries that each consumer got with those pending for it.
func (r *readers) check(cl *redis.Client, want entrySet) {
	r.t.Helper()
	owned := r.pending(cl, 2*len(want))
	total, unseen := entrySet{}, 0
	for _, g := range r.past {
		has := owned[g.name]
		for e := range g.got {
			if !has[e] {
				r.t.Errorf("%s got %s, which is not pending for it", g.name, e)
			}
		}
		for e := range has {
			if !g.got[e] {
				unseen++
				if !g.cut {
					r.t.Errorf("%s owns %s, which was in none of its replies", g.name, e)
				}
			}
		}
		maps.Copy(total, has)
	}
	if !maps.Equal(total, want) {
		r.t.Errorf("the consumers own %d entries, but the streams hold %d", len(total), len(want))
	}
	r.t.Logf("%d entries; %d of them were delivered to calls whose connection ended before the reply", len(want), unseen)
}

// checkLate adds entries after all calls have ended. None of them may be delivered until
// another consumer reads, which must get all of them.
func (r *readers) checkLate(cl *redis.Client, before entrySet) {
	r.t.Helper()
	late := entrySet{}
	for i := range lateEntries {
		s := r.streams[i%len(r.streams)]
		id, err := cl.XAdd(context.Background(), &redis.XAddArgs{Stream: s, Values: []string{"late", "v"}}).Result()
		if err != nil {
			r.t.Fatal(err)
		}
		late.add(s + " " + id)
	}
	if n := pendingCount(r.t, cl, r.streams); n != len(before) {
		r.t.Errorf("%d entries are pending, want %d: some were delivered to calls that had ended", n, len(before))
	}
	g := &groupReader{name: "late", block: -1, cl: cl, got: entrySet{}}
	if _, err := g.call(r.streams, lateEntries); err != nil && !errors.Is(err, redis.Nil) {
		r.t.Fatal(err)
	}
	if !maps.Equal(g.got, late) {
		r.t.Errorf("a new consumer got %d entries, want the %d that were added", len(g.got), len(late))
	}
}
