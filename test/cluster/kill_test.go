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
	claimAfter    = 2 * time.Second // min-idle of XAUTOCLAIM: a consumer's calls may die with their node
	// resumeWithin is the promise: after the kill of one node writes to every shard go on.
	resumeWithin = 4 * time.Second
	drainTimeout = 60 * time.Second
)

// TestKillNodes kills a random node with -9 every few seconds, and all of them now
// and then, while producers and consumer groups work; then it checks every invariant.
func TestKillNodes(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
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

	var worst time.Duration
	kills := 0
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
		t.Error("nothing was acknowledged: the run shows nothing")
	}
	for _, p := range l.Problems() {
		t.Error(p)
	}
}

// client returns a client that never repeats a command by itself: what its caller
// does not know to be undone must not be done twice.
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

// notDone reports whether a reply says that the command had no effect.
func notDone(err error) bool {
	for _, code := range []string{"CLUSTERDOWN ", "TRYAGAIN ", "OVERLOADED ", "NOSPACE "} {
		if strings.HasPrefix(err.Error(), code) {
			return true
		}
	}
	return false
}

// rotating hands out a client to one node, and another one after a failure.
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

// produce adds to one stream after another until ctx ends. Every payload is sent once.
func produce(ctx context.Context, c *Cluster, l *Ledger, writer int, streams []string) {
	r := rotating{c: c, at: writer}
	defer r.next()
	for n := 0; ctx.Err() == nil; n++ {
		stream, payload := streams[(writer+n)%len(streams)], fmt.Sprintf("w%d-%d", writer, n)
		floor := l.Floor(stream)
		// Not ctx: a write that was begun is waited for.
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

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// consume reads, claims and acknowledges until ctx ends.
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
				continue // which of them is not known
			}
			for _, id := range ids {
				l.Finished(s.Stream, id, name)
			}
		}
	}
}

// waitResumed waits until every stream has had a write acknowledged after at, or for
// twice as long as that may take.
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

// drain waits until no group has anything left to deliver or to acknowledge. Consumers
// may have fallen behind by much; but they have to come on.
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
				t.Fatalf("%s is not drained, and was not further in the last %v: %+v %v", s, drainTimeout, gs, err)
			}
		}
	}
}

// checkReplica reads every stream from node n's own replica and compares.
func checkReplica(t *testing.T, l *Ledger, where string, n *Node, streams []string) {
	t.Helper()
	ctx := context.Background()
	cl := client(n.Addr.Client)
	defer cl.Close()
	conn := cl.Conn()
	defer conn.Close()
	for _, s := range streams {
		// A linearizable length first, then the local replica once it has come that far.
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
