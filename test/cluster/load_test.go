package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// load writes to streams until it is stopped, and records the replies.
type load struct {
	ledger  *Ledger
	streams []string

	stop func()
	done sync.WaitGroup

	mu      sync.Mutex
	errs    []error       // guarded by mu
	slowest time.Duration // guarded by mu
}

// startLoad starts one writer for each address. A writer keeps to its address even if its
// writes fail.
func startLoad(name string, streams int, addrs ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{ledger: NewLedger(), stop: cancel}
	for i := range streams {
		l.streams = append(l.streams, fmt.Sprintf("%s-%d", name, i))
	}
	for w, addr := range addrs {
		l.done.Go(func() { l.write(ctx, w, addr) })
	}
	return l
}

func (l *load) write(ctx context.Context, writer int, addr string) {
	cl := client(addr)
	defer cl.Close()
	for n := 0; ctx.Err() == nil; n++ {
		stream, payload := l.streams[(writer+n)%len(l.streams)], fmt.Sprintf("w%d-%d", writer, n)
		floor, began := l.ledger.Floor(stream), time.Now()
		id, err := cl.XAdd(context.Background(), &redis.XAddArgs{Stream: stream, Values: []string{"p", payload}}).Result()
		took := time.Since(began)
		switch {
		case err == nil:
			l.ledger.Added(stream, id, payload, floor)
		case notDone(err):
			l.ledger.Refused(stream, payload)
		default:
			l.ledger.Unknown(stream, payload)
		}
		l.mu.Lock()
		l.slowest = max(l.slowest, took)
		if err != nil {
			l.errs = append(l.errs, err)
		}
		l.mu.Unlock()
		if err != nil {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// end stops the writers and checks every node's replica against the recorded replies.
func (l *load) end(t *testing.T, c *Cluster) {
	t.Helper()
	l.stop()
	l.done.Wait()
	c.WaitHealthy()
	for i, n := range c.Nodes {
		checkReplica(t, l.ledger, fmt.Sprintf("node %d", i+1), n, l.streams)
	}
	acked, unknown, refused, _ := l.ledger.Counts()
	t.Logf("%d XADDs acknowledged, %d unknown, %d refused; the slowest took %v", acked, unknown, refused, l.slowest.Round(time.Millisecond))
	if acked < 10*len(l.streams) {
		t.Errorf("only %d writes were acknowledged, so the run proves nothing", acked)
	}
	for _, p := range l.ledger.Problems() {
		t.Error(p)
	}
}

// slowestWrite returns the time of the slowest write.
func (l *load) slowestWrite() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slowest
}

// errors returns the errors that the writers got.
func (l *load) errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]error(nil), l.errs...)
}
