package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/test/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.RunMain(m)) }

// TestOrders runs the example as its README describes: a producer, two workers of which one
// dies in the middle of an order, and a node that is killed in the meantime.
func TestOrders(t *testing.T) {
	const orders = 300
	c := cluster.Start(t, cluster.Options{})
	rdb := connect(c.Addrs(), "")
	defer rdb.Close()
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	defer stop()
	if err := ensureGroup(ctx, rdb); err != nil {
		t.Fatal(err)
	}
	done := &tally{want: orders, all: make(chan struct{}), finished: map[string]bool{}}

	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	died := make(chan struct{})
	wg.Go(func() {
		defer close(died)
		if err := runMortal(ctx, rdb, done); err != nil {
			t.Error("mortal:", err)
		}
	})
	wg.Go(func() {
		w := Worker{Name: "steady", ReclaimAfter: 2 * time.Second, Finish: done.finish}
		if err := w.Run(ctx, rdb); err != nil {
			t.Error("steady:", err)
		}
	})

	if err := Produce(ctx, rdb, 1, orders/2); err != nil {
		t.Fatal(err)
	}
	c.Kill(c.Nodes[1])
	if err := Produce(ctx, rdb, orders/2+1, orders/2); err != nil {
		t.Fatal(err)
	}
	c.Restart(c.Nodes[1])
	for _, ch := range []chan struct{}{died, done.all} {
		select {
		case <-ch:
		case <-ctx.Done():
			t.Fatalf("%d of %d orders were finished", done.count(), orders)
		}
	}
	c.WaitHealthy()
}

// runMortal runs a worker that finishes ten orders and dies in the middle of the next, which
// is then neither finished nor acknowledged.
func runMortal(ctx context.Context, rdb redis.UniversalClient, done *tally) error {
	dying, die := context.WithCancel(ctx)
	defer die()
	n := 0
	w := Worker{Name: "mortal", ReclaimAfter: time.Hour, Finish: func(ctx context.Context, o Order) error {
		if n++; n > 10 {
			die()
			return errors.New("dead")
		}
		return done.finish(ctx, o)
	}}
	return w.Run(dying, rdb)
}

// tally collects the numbers of finished orders, and closes all when it has want of them.
type tally struct {
	want int
	all  chan struct{}

	mu       sync.Mutex
	finished map[string]bool // guarded by mu; by order number
}

func (d *tally) finish(_ context.Context, o Order) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.finished[o.Number] {
		return nil
	}
	d.finished[o.Number] = true
	if len(d.finished) == d.want {
		close(d.all)
	}
	return nil
}

func (d *tally) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.finished)
}
