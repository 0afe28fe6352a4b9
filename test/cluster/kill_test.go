package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

var (
	killDuration = flag.Duration("kill-duration", 15*time.Second, "how long TestKillNodes kills nodes")
	killSeed     = flag.Uint64("kill-seed", 0, "seed of TestKillNodes; 0: a new one")
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are down on purpose
	os.Exit(RunMain(m))
}

// The load of TestKillNodes.
const (
	killStreams   = 12
	killWriters   = 12
	killConsumers = 6
	killGroup     = "workers"
	claimAfter    = 2 * time.Second // min-idle of XAUTOCLAIM, which takes over entries whose delivery was lost with a node
	// resumeWithin is the promised time from the kill of one node until writes to every
	// shard succeed again.
	resumeWithin = 4 * time.Second
	drainTimeout = 60 * time.Second
)

// TestKillNodes kills a random node with SIGKILL every few seconds, and sometimes all nodes,
// while producers and consumers work. Then it checks every invariant.
func TestKillNodes(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	c := Start(t, Options{})
	l := NewLedger()
	streams := make([]string, killStreams)
	for i := range streams {
		streams[i] = fmt.Sprintf("kill-%d", i)
	}
	createGroups(t, c, streams)

	ctx, stopWriters := context.WithCancel(context.Background())
	defer stopWriters()
	var writers, consumers sync.WaitGroup
	for w := range killWriters {
		writers.Go(func() { produce(ctx, c, l, w, streams) })
	}
	readCtx, stopConsumers := context.WithCancel(context.Background())
	defer stopConsumers()
	for k := range killConsumers {
		consumers.Go(func() { consume(readCtx, c, l, fmt.Sprintf("consumer-%d", k), streams) })
	}
	kills, worst := killAtRandom(t, c, l, rand.New(rand.NewPCG(seed, 0)), streams)
	stopWriters()
	writers.Wait()
	c.WaitHealthy()
	drain(t, c, streams)
	stopConsumers()
	consumers.Wait()

	for i, n := range c.Nodes {
		checkReplica(t, l, fmt.Sprintf("node %d", i+1), n, streams)
	}
	acked, unknown, refused, finished := l.Counts()
	t.Logf("%d kills; %d XADDs acknowledged, %d unknown, %d refused; %d XACKs; writes resumed after at most %v", kills, acked, unknown, refused, finished, worst.Round(time.Millisecond))
	if acked == 0 || finished == 0 {
		t.Error("nothing was acknowledged, so the run proves nothing")
	}
	for _, p := range l.Problems() {
		t.Error(p)
	}
}

// killAtRandom kills and restarts nodes for -kill-duration: one random node in four of five
// rounds, and all nodes in the fifth. It returns the number of kills and the longest time
// until writes resumed after the kill of one node.
func killAtRandom(t *testing.T, c *Cluster, l *Ledger, rng *rand.Rand, streams []string) (kills int, worst time.Duration) {
	t.Helper()
	for end, round := time.Now().Add(*killDuration), 1; time.Now().Before(end); round++ {
		time.Sleep(time.Duration(1500+rng.IntN(2000)) * time.Millisecond)
		if round%5 == 0 {
			for _, n := range c.Nodes {
				c.Kill(n)
			}
			kills += len(c.Nodes)
			restartAll(t, c)
		} else {
			n := c.Nodes[rng.IntN(len(c.Nodes))]
			at := time.Now()
			c.Kill(n)
			kills++
			waitResumed(l, at, streams)
			took, which := l.Resumed(at, streams)
			worst = max(worst, took)
			if took > resumeWithin && len(raceFlags) == 0 {
				l.Problem("writes to %s resumed %v after node %d was killed", which, took, n.Index+1)
			}
			c.Restart(n)
		}
		c.WaitHealthy()
	}
	return kills, worst
}

// client returns a client that never repeats a command by itself, because a command with an
// unknown outcome must not be executed twice.
func client(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Second, PoolSize: 2, DisableIdentity: true, DialerRetries: 1,
	})
}

func createGroups(t *testing.T, c *Cluster, streams []string) {
	t.Helper()
	cl := client(c.Nodes[0].Addr.Client)
	defer cl.Close()
	for _, s := range streams {
		if err := cl.XGroupCreateMkStream(context.Background(), s, killGroup, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// notDone reports whether an error reply guarantees that the command had no effect.
func notDone(err error) bool {
	for _, code := range []string{"CLUSTERDOWN ", "TRYAGAIN ", "OVERLOADED ", "NOSPACE "} {
		if strings.HasPrefix(err.Error(), code) {
			return true
		}
	}
	return false
}

// rotating holds a client of one node, and moves on to the next node after a failure.
type rotating struct {
	c  *Cluster
	at int
	cl *redis.Client
}

func (r *rotating) get() *redis.Client {
	if r.cl == nil {
		r.cl = client(r.c.Nodes[r.at%len(r.c.Nodes)].Addr.Client)
	}
	return r.cl
}

func (r *rotating) next() {
	if r.cl != nil {
		r.cl.Close()
		r.cl = nil
	}
	r.at++
}

// produce adds entries to one stream after another until ctx ends. It sends each payload
// once.
func produce(ctx context.Context, c *Cluster, l *Ledger, writer int, streams []string) {
	r := rotating{c: c, at: writer}
	defer r.next()
	for n := 0; ctx.Err() == nil; n++ {
		stream, payload := streams[(writer+n)%len(streams)], fmt.Sprintf("w%d-%d", writer, n)
		floor := l.Floor(stream)
		// The call does not use ctx, so that a started write is waited for.
		id, err := r.get().XAdd(context.Background(), &redis.XAddArgs{Stream: stream, Values: []string{"p", payload}}).Result()
		switch {
		case err == nil:
			l.Added(stream, id, payload, floor)
			continue
		case notDone(err):
			l.Refused(stream, payload)
		default:
			l.Unknown(stream, payload)
		}
		r.next()
		pause(ctx, 20*time.Millisecond)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// consume reads, claims and acknowledges entries until ctx ends.
func consume(ctx context.Context, c *Cluster, l *Ledger, name string, streams []string) {
	r := rotating{c: c, at: int(name[len(name)-1])}
	defer r.next()
	args := append(append([]string(nil), streams...), strings.Split(strings.Repeat(">", len(streams)), "")...)
	for round := 0; ctx.Err() == nil; round++ {
		cl, began := r.get(), time.Now()
		var got []redis.XStream
		var err error
		if round%4 == 3 {
			s := streams[round/4%len(streams)]
			var ms []redis.XMessage
			ms, _, err = cl.XAutoClaim(context.Background(), &redis.XAutoClaimArgs{Stream: s, Group: killGroup, Consumer: name, MinIdle: claimAfter, Start: "0", Count: 50}).Result()
			got = []redis.XStream{{Stream: s, Messages: ms}}
		} else {
			got, err = cl.XReadGroup(context.Background(), &redis.XReadGroupArgs{Group: killGroup, Consumer: name, Streams: args, Count: 20, Block: 300 * time.Millisecond}).Result()
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			r.next()
			pause(ctx, 20*time.Millisecond)
			continue
		}
		for _, s := range got {
			var ids []string
			for _, m := range s.Messages {
				payload, _ := m.Values["p"].(string)
				l.Delivered(s.Stream, m.ID, payload, name, began)
				ids = append(ids, m.ID)
			}
			if len(ids) == 0 {
				continue
			}
			n, err := cl.XAck(context.Background(), s.Stream, killGroup, ids...).Result()
			if err != nil || n != int64(len(ids)) {
				continue // it is unknown which entries this XACK acknowledged
			}
			for _, id := range ids {
				l.Finished(s.Stream, id, name)
			}
		}
	}
}

// waitResumed waits until a write to each stream has been acknowledged after at, but at most
// for twice the promised time.
func waitResumed(l *Ledger, at time.Time, streams []string) {
	for deadline := at.Add(2 * resumeWithin); time.Now().Before(deadline); time.Sleep(poll) {
		before := time.Now()
		if took, _ := l.Resumed(at, streams); took < before.Sub(at) {
			return
		}
	}
}

func restartAll(t *testing.T, c *Cluster) {
	t.Helper()
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			if err := c.Launch(n); err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// drain waits until every group has no entries left to deliver or to acknowledge. Consumers
// may be far behind, but they must make progress within drainTimeout.
func drain(t *testing.T, c *Cluster, streams []string) {
	t.Helper()
	cl := client(c.Nodes[0].Addr.Client)
	defer cl.Close()
	for _, s := range streams {
		least := int64(math.MaxInt64)
		for deadline := time.Now().Add(drainTimeout); ; time.Sleep(5 * poll) {
			gs, err := cl.XInfoGroups(context.Background(), s).Result()
			if err == nil && len(gs) == 1 {
				left := gs[0].Pending + gs[0].Lag
				if left == 0 {
					break
				}
				if left < least {
					least, deadline = left, time.Now().Add(drainTimeout)
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not drained and has made no progress for %v: %+v %v", s, drainTimeout, gs, err)
			}
		}
	}
}

// checkReplica reads every stream from node n's own replica and checks it against l.
func checkReplica(t *testing.T, l *Ledger, where string, n *Node, streams []string) {
	t.Helper()
	ctx := context.Background()
	cl := client(n.Addr.Client)
	defer cl.Close()
	conn := cl.Conn()
	defer conn.Close()
	for _, s := range streams {
		// Read a linearizable length first, and wait until the local replica has reached it.
		if err := conn.Do(ctx, "READWRITE").Err(); err != nil {
			t.Fatal(err)
		}
		want, err := conn.XLen(ctx, s).Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.ReadOnly(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(drainTimeout); ; time.Sleep(poll) {
			n, err := conn.XLen(ctx, s).Result()
			if err == nil && n == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s has %d entries, want %d: %v", where, s, n, want, err)
			}
		}
		var items []Item
		for from := "-"; ; {
			ms, err := conn.XRangeN(ctx, s, from, "+", 1000).Result()
			if err != nil {
				t.Fatalf("%s: %s: %v", where, s, err)
			}
			for _, m := range ms {
				payload, _ := m.Values["p"].(string)
				items = append(items, Item{m.ID, payload})
			}
			if len(ms) < 1000 {
				break
			}
			from = "(" + ms[len(ms)-1].ID
		}
		l.CheckFinal(where, s, items)
	}
}
