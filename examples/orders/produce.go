package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// retryPause is how long a producer or worker waits after a failure.
const retryPause = 100 * time.Millisecond

// Order is what an entry of the stream says.
type Order struct {
	ID     string // of the entry
	Number string // of the order: the same when it had to be sent twice
	Item   string
}

// Produce writes count orders, numbered from first, one after another. It returns
// when the last one is acknowledged: on disk on a majority of replicas.
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
			// Not done, or unknown: sent again either way. If it was done after all, the
			// order stands twice, and the worker tells it by its number.
			if err := sleep(ctx, retryPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused reports whether the server understood the command and said no: sending it
// again would change nothing.
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
