package clients

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// rueidisQueue is a queue that uses rueidis.
type rueidisQueue struct {
	c   rueidis.Client
	key string
}

func (q rueidisQueue) create(ctx context.Context) error {
	return q.c.Do(ctx, q.c.B().XgroupCreate().Key(q.key).Group("workers").Id("0").Mkstream().Build()).Error()
}

func (q rueidisQueue) add(ctx context.Context, value string) error {
	return q.c.Do(ctx, q.c.B().Xadd().Key(q.key).Id("*").FieldValue().FieldValue("v", value).Build()).Error()
}

func (q rueidisQueue) addBoth(ctx context.Context, a, b string) error {
	return q.c.Dedicated(func(c rueidis.DedicatedClient) error {
		res := c.DoMulti(ctx,
			c.B().Multi().Build(),
			c.B().Xadd().Key(q.key).Id("*").FieldValue().FieldValue("v", a).Build(),
			c.B().Xadd().Key(q.key).Id("*").FieldValue().FieldValue("v", b).Build(),
			c.B().Exec().Build())
		for _, r := range res {
			if err := r.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q rueidisQueue) read(ctx context.Context, consumer string, block time.Duration) ([]entry, error) {
	cmd := q.c.B().Xreadgroup().Group("workers", consumer).Count(5)
	streamsOf := cmd.Streams
	if block > 0 {
		streamsOf = cmd.Block(block.Milliseconds()).Streams
	}
	streams, err := q.c.Do(ctx, streamsOf().Key(q.key).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return rueidisEntries(streams[q.key]), err
}

func rueidisEntries(list []rueidis.XRangeEntry) (out []entry) {
	for _, e := range list {
		out = append(out, entry{e.ID, e.FieldValues["v"]})
	}
	return out
}

func (q rueidisQueue) ack(ctx context.Context, ids ...string) error {
	return q.c.Do(ctx, q.c.B().Xack().Key(q.key).Group("workers").Id(ids...).Build()).Error()
}

func (q rueidisQueue) claim(ctx context.Context, consumer string) ([]entry, error) {
	parts, err := q.c.Do(ctx, q.c.B().Xautoclaim().Key(q.key).Group("workers").Consumer(consumer).MinIdleTime("0").Start("0").
		Count(100).Build()).ToArray()
	if err != nil {
		return nil, err
	}
	list, err := parts[1].AsXRange()
	return rueidisEntries(list), err
}

func (q rueidisQueue) pending(ctx context.Context) (int64, error) {
	parts, err := q.c.Do(ctx, q.c.B().Xpending().Key(q.key).Group("workers").Build()).ToArray()
	if err != nil {
		return 0, err
	}
	return parts[0].AsInt64()
}

func (q rueidisQueue) len(ctx context.Context) (int64, error) {
	return q.c.Do(ctx, q.c.B().Xlen().Key(q.key).Build()).AsInt64()
}

func (q rueidisQueue) close() { q.c.Close() }

// rueidisPlain uses rueidis with its defaults, with which it sends CLIENT TRACKING ON OPTIN
// on every connection.
func rueidisPlain(t *testing.T, s *site) { runRueidis(t, s, oneOf(s)) }

func rueidisWithoutCache(t *testing.T, s *site) {
	o := oneOf(s)
	o.DisableCache = true
	runRueidis(t, s, o)
}

func rueidisPipelining(t *testing.T, s *site) {
	o := oneOf(s)
	o.AlwaysPipelining, o.MaxFlushDelay = true, 100*time.Microsecond
	runRueidis(t, s, o)
}

func rueidisCluster(t *testing.T, s *site) {
	runRueidis(t, s, rueidis.ClientOption{InitAddress: s.addrs})
}

// oneOf makes rueidis use a single connection, to the first node that accepts it.
func oneOf(s *site) rueidis.ClientOption {
	dial := dialAny(s.addrs)
	return rueidis.ClientOption{
		ForceSingleClient: true, InitAddress: s.addrs[:1],
		DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dial(ctx, "tcp", addr)
		},
	}
}

func runRueidis(t *testing.T, s *site, o rueidis.ClientOption) {
	o.ConnWriteTimeout = 10 * time.Second
	c, err := rueidis.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	runSession(t, rueidisQueue{c, s.key}, s.kill)
}

// rueidisCaching checks that a cached read is refused, so that no client caches a stale
// value, and that the commands after it on the connection are answered.
func rueidisCaching(t *testing.T, s *site) {
	c, err := rueidis.NewClient(oneOf(s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	if err := c.Do(ctx, c.B().Set().Key(s.key).Value("1").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := c.DoCache(ctx, c.B().Get().Key(s.key).Cache(), time.Minute).Error()
		if !errors.Is(err, rueidis.ErrDoCacheAborted) {
			t.Errorf("a cached read: %v", err)
		}
	}
	for _, r := range c.DoMultiCache(ctx, rueidis.CT(c.B().Get().Key(s.key).Cache(), time.Minute)) {
		if r.Error() == nil {
			t.Error("a cached read among several was answered")
		}
	}
	if err := c.Do(ctx, c.B().Set().Key(s.key).Value("2").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Do(ctx, c.B().Get().Key(s.key).Build()).ToString(); err != nil || v != "2" {
		t.Errorf("after refused cached reads: %q, %v", v, err)
	}
}
