package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// retryPause is the wait of a producer or worker after a failure.
const retryPause = 100 * time.Millisecond

// Order is an order, read from an entry of the stream.
type Order struct {
	ID     string // of the entry
	Number string // of the order; the same in every entry if it was sent twice
	Item   string
}

// Produce writes count orders one after another, numbered from first. It returns once the
// last one is acknowledged, and therefore on disk on a majority of replicas.
func Produce(ctx context.Context, rdb redis.UniversalClient, first, count int) error {
	for n := first; n < first+count; n++ {
		for {
			err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []string{"number", fmt.Sprint(n), "item", "lamp"}}).Err()
			if err == nil {
				break
			}
			if refused(err) {
				return fmt.Errorf("order %d: %w", n, err)
			}
			// The write was not done, or its outcome is unknown. Send it again in both cases.
			// If the first attempt succeeded after all, the stream has two entries with the
			// same order number, which lets the worker recognise the repetition.
			if err := sleep(ctx, retryPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused reports whether the server has rejected the command itself, so that sending it
// again would fail in the same way.
func refused(err error) bool {
	for _, code := range []string{"ERR ", "WRONGTYPE ", "NOAUTH ", "WRONGPASS ", "NOPERM "} {
		if strings.HasPrefix(err.Error(), code) {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
