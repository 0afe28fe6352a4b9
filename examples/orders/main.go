// Command orders is a work queue over a stream and a consumer group, written with
// go-redis as it would be for Redis.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The names that producers and workers share.
const (
	stream = "orders"
	group  = "fulfilment"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:6379", "addresses of nodes; any will do, the others are for when it is gone")
	password := fs.String("password", "", "password, if the cluster has one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	rdb := connect(strings.Split(*addr, ","), *password)
	defer rdb.Close()
	if err := ensureGroup(ctx, rdb); err != nil {
		return err
	}
	switch fs.Arg(0) {
	case "produce":
		sub := flag.NewFlagSet("produce", flag.ContinueOnError)
		count := sub.Int("count", 100, "how many orders")
		first := sub.Int("first", 1, "number of the first order")
		if err := sub.Parse(fs.Args()[1:]); err != nil {
			return err
		}
		return Produce(ctx, rdb, *first, *count)
	case "work":
		sub := flag.NewFlagSet("work", flag.ContinueOnError)
		name := sub.String("name", "worker", "name of this consumer; keep it over restarts")
		if err := sub.Parse(fs.Args()[1:]); err != nil {
			return err
		}
		w := Worker{Name: *name, ReclaimAfter: 30 * time.Second, Finish: func(_ context.Context, o Order) error {
			fmt.Printf("%s: order %s of %s\n", *name, o.Number, o.Item)
			return nil
		}}
		return w.Run(ctx, rdb)
	}
	return fmt.Errorf("usage: orders [-addr A,B,C] produce|work …")
}

// connect returns a client of all the nodes: it learns from any of them who leads
// which slots, and asks another one when a node is gone. It repeats nothing by itself:
// whether a write may be repeated is for Produce to say.
func connect(addrs []string, password string) redis.UniversalClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, Password: password, MaxRedirects: 3,
		MaxRetries: -1, DialTimeout: 2 * time.Second, ReadTimeout: 10 * time.Second,
	})
}

// ensureGroup makes the stream and the group where they are missing.
func ensureGroup(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.XGroupCreateMkStream(ctx, stream, group, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}
