package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limits of one read.
const (
	batch    = 16
	blockFor = time.Second
)

// Worker is one consumer of the group.
type Worker struct {
	// Name must stay the same after a restart, so that the worker gets back the orders that
	// were delivered to this name and not acknowledged.
	Name string
	// ReclaimAfter is the time after which this worker takes over an unfinished order of
	// another worker. It must be longer than the time to finish an order.
	ReclaimAfter time.Duration
	// Finish does the work of one order. After a failure it may be called again for the same
	// order number, so it must have no effect the second time.
	Finish func(context.Context, Order) error
}

// Run works until ctx ends, or until the server rejects a command for good; see refused.
func (w Worker) Run(ctx context.Context, rdb redis.UniversalClient) error {
	if err := w.again(ctx, func() error { return w.history(ctx, rdb) }); err != nil {
		return ignoreEnd(ctx, err)
	}
	reclaim := time.Now().Add(w.ReclaimAfter)
	for ctx.Err() == nil {
		if time.Now().After(reclaim) {
			reclaim = time.Now().Add(w.ReclaimAfter / 2)
			if err := w.again(ctx, func() error { return w.reclaim(ctx, rdb) }); err != nil {
				return ignoreEnd(ctx, err)
			}
		}
		if err := w.again(ctx, func() error { _, err := w.read(ctx, rdb, ">"); return err }); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

// ignoreEnd returns nil if ctx has ended, and otherwise err.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// again calls f until it succeeds or is refused. Repeating helps because a failed leader is
// replaced within seconds.
func (w Worker) again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || refused(err) {
			return err
		}
		if err := sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

// history finishes the orders that were delivered to this name before its restart.
func (w Worker) history(ctx context.Context, rdb redis.UniversalClient) error {
	for {
		n, err := w.read(ctx, rdb, "0")
		if err != nil || n == 0 {
			return err
		}
	}
}

// read reads and finishes one batch: new orders if from is ">", or the worker's own
// unfinished orders if from is "0". It returns the number of entries.
func (w Worker) read(ctx context.Context, rdb redis.UniversalClient, from string) (int, error) {
	res, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: w.Name, Streams: []string{stream, from}, Count: batch, Block: blockFor,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range res {
		n += len(s.Messages)
		if err := w.finish(ctx, rdb, s.Messages); err != nil {
			return n, err
		}
	}
	return n, nil
}

// reclaim takes over orders that other workers have left unfinished for too long.
func (w Worker) reclaim(ctx context.Context, rdb redis.UniversalClient) error {
	for start := "0-0"; ; {
		ms, next, err := rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: stream, Group: group, Consumer: w.Name, MinIdle: w.ReclaimAfter, Start: start, Count: batch,
		}).Result()
		if err != nil {
			return err
		}
		if err := w.finish(ctx, rdb, ms); err != nil {
			return err
		}
		if next == "0-0" {
			return nil
		}
		start = next
	}
}

// finish does the work of each entry and then acknowledges it. In this order, no order is
// lost if the worker dies between the two.
func (w Worker) finish(ctx context.Context, rdb redis.UniversalClient, ms []redis.XMessage) error {
	for _, m := range ms {
		number, _ := m.Values["number"].(string)
		item, _ := m.Values["item"].(string)
		if err := w.Finish(ctx, Order{ID: m.ID, Number: number, Item: item}); err != nil {
			return err
		}
		if err := rdb.XAck(ctx, stream, group, m.ID).Err(); err != nil {
			return err
		}
	}
	return nil
}
