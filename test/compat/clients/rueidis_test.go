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

// rueidisQueue is a queue with rueidis.
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
	streams, err := q.c.Do(ctx, q.c.B().Xreadgroup().Group("workers", consumer).Count(5).Block(block.Milliseconds()).
		Streams().Key(q.key).Id(">").Build()).AsXRead()
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

// With its defaults rueidis says CLIENT TRACKING ON on every connection.
func TestRueidis(t *testing.T) {
	for name, change := range map[string]func(*rueidis.ClientOption, []string){
		"plain":         func(o *rueidis.ClientOption, addrs []string) { single(o, addrs) },
		"without cache": func(o *rueidis.ClientOption, addrs []string) { single(o, addrs); o.DisableCache = true },
		"pipelining": func(o *rueidis.ClientOption, addrs []string) {
			single(o, addrs)
			o.AlwaysPipelining, o.MaxFlushDelay = true, 100*time.Microsecond
		},
		"cluster": func(*rueidis.ClientOption, []string) {},
	} {
		t.Run(name, func(t *testing.T) {
			addrs, kill := victim(t)
			o := rueidis.ClientOption{InitAddress: addrs, ConnWriteTimeout: 10 * time.Second}
			change(&o, addrs)
			c, err := rueidis.NewClient(o)
			if err != nil {
				t.Fatal(err)
			}
			runSession(t, rueidisQueue{c, "jobs"}, kill)
		})
	}
}

// single has rueidis use one connection to whichever node takes it.
func single(o *rueidis.ClientOption, addrs []string) {
	o.ForceSingleClient = true
	o.InitAddress = addrs[:1]
	dial := dialAny(addrs)
	o.DialCtxFn = func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return dial(ctx, "tcp", addr)
	}
}

// A cached read is refused, and what follows on the connection is
// answered: nothing is ever cached stale.
func TestRueidisCaching(t *testing.T) {
	addrs, _ := victim(t)
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs[:1], ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	if err := c.Do(ctx, c.B().Set().Key("position").Value("1").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := c.DoCache(ctx, c.B().Get().Key("position").Cache(), time.Minute).Error()
		if !errors.Is(err, rueidis.ErrDoCacheAborted) {
			t.Errorf("a cached read: %v", err)
		}
	}
	if err := c.Do(ctx, c.B().Set().Key("position").Value("2").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Do(ctx, c.B().Get().Key("position").Build()).ToString(); err != nil || v != "2" {
		t.Errorf("after refused cached reads: %q, %v", v, err)
	}
}
