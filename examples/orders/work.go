package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// How a worker reads.
const (
	batch    = 16
	blockFor = time.Second
)

// Worker is one consumer of the group.
type Worker struct {
	// Name must stay the same over restarts: what was handed to a name and not
	// acknowledged is given back to it.
	Name string
	// ReclaimAfter is how long an order may lie unfinished with another worker before
	// this one takes it. It must be longer than finishing one takes.
	ReclaimAfter time.Duration
	// Finish does the work. It may be called again for the same order number after a
	// failure anywhere, so it must not mind.
	Finish func(context.Context, Order) error
}

// Run works until ctx ends or a reply says that going on makes no sense.
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

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// again calls f until it succeeds: a leader that is gone is replaced within seconds.
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

// history finishes what this name was given before it was restarted.
func (w Worker) history(ctx context.Context, rdb redis.UniversalClient) error {
	for {
		n, err := w.read(ctx, rdb, "0")
		if err != nil || n == 0 {
			return err
		}
	}
}

// read takes a batch and finishes it: new orders (">"), or this worker's own
// unfinished ones ("0").
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

// reclaim takes over what other workers have left unfinished for too long.
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

// finish does the work of each entry, then acknowledges it: in this order, so that an
// order is never lost between the two.
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
