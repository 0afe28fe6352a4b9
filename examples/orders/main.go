// Command orders is a work queue built on a stream and a consumer group. It uses go-redis in
// the same way as with Redis.
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

// Names shared by producers and workers.
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
	addr := fs.String("addr", "127.0.0.1:6379", "`addresses` of nodes, separated by commas; one is enough, the others are tried if it is down")
	password := fs.String("password", "", "`password` of the cluster, if it has one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	begin := func() (redis.UniversalClient, error) {
		rdb := connect(strings.Split(*addr, ","), *password)
		if err := ensureGroup(ctx, rdb); err != nil {
			rdb.Close()
			return nil, err
		}
		return rdb, nil
	}
	switch fs.Arg(0) {
	case "produce":
		sub := flag.NewFlagSet("produce", flag.ContinueOnError)
		count := sub.Int("count", 100, "`number` of orders")
		first := sub.Int("first", 1, "`number` of the first order")
		if err := sub.Parse(fs.Args()[1:]); err != nil {
			return err
		}
		rdb, err := begin()
		if err != nil {
			return err
		}
		defer rdb.Close()
		if err := Produce(ctx, rdb, *first, *count); err != nil {
			return err
		}
		fmt.Printf("%d orders are in the stream, from number %d\n", *count, *first)
		return nil
	case "work":
		sub := flag.NewFlagSet("work", flag.ContinueOnError)
		name := sub.String("name", "worker", "`name` of this consumer; use the same name after a restart")
		if err := sub.Parse(fs.Args()[1:]); err != nil {
			return err
		}
		w := Worker{Name: *name, ReclaimAfter: 30 * time.Second, Finish: func(_ context.Context, o Order) error {
			fmt.Printf("%s: order %s of %s\n", *name, o.Number, o.Item)
			return nil
		}}
		rdb, err := begin()
		if err != nil {
			return err
		}
		defer rdb.Close()
		return w.Run(ctx, rdb)
	}
	return fmt.Errorf("usage: orders [-addr A,B,C] produce|work …")
}

// connect returns a client of all nodes. It learns from any node which node leads which
// slots, and asks another one if a node is down. It does not repeat commands by itself,
// because Produce decides whether a write may be repeated.
func connect(addrs []string, password string) redis.UniversalClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, Password: password, MaxRedirects: 3,
		MaxRetries: -1, DialTimeout: 2 * time.Second, ReadTimeout: 10 * time.Second,
	})
}

// ensureGroup creates the stream and the group if they do not exist.
func ensureGroup(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.XGroupCreateMkStream(ctx, stream, group, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}
