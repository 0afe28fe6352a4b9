package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// goRedis is a queue that uses go-redis, with its plain or its cluster client.
type goRedis struct {
	c   redis.UniversalClient
	key string
}

func (q goRedis) create(ctx context.Context) error {
	return q.c.XGroupCreateMkStream(ctx, q.key, "workers", "0").Err()
}

func (q goRedis) add(ctx context.Context, value string) error {
	return q.c.XAdd(ctx, &redis.XAddArgs{Stream: q.key, Values: []any{"v", value}}).Err()
}

func (q goRedis) addBoth(ctx context.Context, a, b string) error {
	_, err := q.c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: q.key, Values: []any{"v", a}})
		p.XAdd(ctx, &redis.XAddArgs{Stream: q.key, Values: []any{"v", b}})
		return nil
	})
	return err
}

func (q goRedis) read(ctx context.Context, consumer string, block time.Duration) ([]entry, error) {
	if block == 0 {
		block = -1 // zero would block for ever
	}
	streams, err := q.c.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: "workers", Consumer: consumer, Streams: []string{q.key, ">"}, Count: 5, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var out []entry
	for _, s := range streams {
		out = append(out, goRedisEntries(s.Messages)...)
	}
	return out, err
}

func goRedisEntries(msgs []redis.XMessage) (out []entry) {
	for _, m := range msgs {
		v, _ := m.Values["v"].(string)
		out = append(out, entry{m.ID, v})
	}
	return out
}

func (q goRedis) ack(ctx context.Context, ids ...string) error {
	return q.c.XAck(ctx, q.key, "workers", ids...).Err()
}

func (q goRedis) claim(ctx context.Context, consumer string) ([]entry, error) {
	msgs, _, err := q.c.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: q.key, Group: "workers", Consumer: consumer, MinIdle: 0, Start: "0", Count: 100,
	}).Result()
	return goRedisEntries(msgs), err
}

func (q goRedis) pending(ctx context.Context) (int64, error) {
	p, err := q.c.XPending(ctx, q.key, "workers").Result()
	if err != nil {
		return 0, err
	}
	return p.Count, nil
}

func (q goRedis) len(ctx context.Context) (int64, error) { return q.c.XLen(ctx, q.key).Result() }
func (q goRedis) close()                                 { q.c.Close() }

func goRedisPlain(proto int) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		c := redis.NewClient(&redis.Options{Addr: s.addrs[0], Dialer: dialAny(s.addrs), Protocol: proto})
		runSession(t, goRedis{c, s.key}, s.kill)
	}
}

// goRedisCluster lets the client ask for the leaders every two seconds. Otherwise go-redis
// asks once a minute or after a redirection, and no redirection comes from a dead node.
func goRedisCluster(t *testing.T, s *site) {
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: s.addrs, ReadTimeout: 40 * time.Second, ClusterStateReloadInterval: 2 * time.Second,
	})
	runSession(t, goRedis{c, s.key}, s.kill)
}
