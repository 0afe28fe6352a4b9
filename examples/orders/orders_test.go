package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"millrace/test/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.RunMain(m)) }

// TestOrders runs the example as its README tells: a producer, two workers of which
// one dies in the middle of an order, and a node that is killed while they work.
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

	var mu sync.Mutex
	finished := map[string]int{}
	all := make(chan struct{})
	finish := func(_ context.Context, o Order) error {
		mu.Lock()
		defer mu.Unlock()
		finished[o.Number]++
		if len(finished) == orders {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return nil
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	dying, die := context.WithCancel(ctx)
	died := make(chan struct{})
	wg.Go(func() {
		defer close(died)
		n := 0
		w := Worker{Name: "mortal", ReclaimAfter: time.Hour, Finish: func(_ context.Context, o Order) error {
			if n++; n > 10 {
				die() // in the middle of an order: it is neither finished nor acknowledged
				return errors.New("dead")
			}
			return finish(ctx, o)
		}}
		if err := w.Run(dying, rdb); err != nil {
			t.Error("mortal:", err)
		}
	})
	wg.Go(func() {
		w := Worker{Name: "steady", ReclaimAfter: 2 * time.Second, Finish: finish}
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
	for _, ch := range []chan struct{}{died, all} {
		select {
		case <-ch:
		case <-ctx.Done():
			mu.Lock()
			t.Fatalf("%d of %d orders were finished", len(finished), orders)
		}
	}
	c.WaitHealthy()
}
