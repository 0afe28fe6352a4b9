package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/call"
)

// stalled returns a cluster of one whose log hangs: no proposed record is applied until
// the log is released.
func stalled(t *testing.T, tune func(*Config)) (*testNode, func()) {
	t.Helper()
	c := newTestCluster(t, "a")
	var log *hungLog
	c.wrapLog = func(_ string, l LogStore) LogStore { log = &hungLog{LogStore: l}; return log }
	c.tune = func(_ string, cfg *Config) {
		cfg.Timing.LogStall = time.Hour
		tune(cfg)
	}
	c.startAll()
	n := c.leader()
	return n, log.hang(t)
}

// Waiting writes are bounded in calls and in bytes. Over a bound the answer comes at
// once, and the writes that were accepted are done when the disk goes on.
func TestQueueBounds(t *testing.T) {
	n, resume := stalled(t, func(cfg *Config) {
		cfg.Limits.QueueCalls, cfg.Limits.QueueBytes = 10, 2000
		cfg.Limits.InFlight, cfg.Limits.RecordBytes = 2, 200
	})
	submit := func(size int) <-chan call.Result {
		c, done := newCall(call.Write, n.shard.lead.leads(), "APPEND", "k", strings.Repeat("v", size))
		n.shard.Submit(c)
		return done
	}
	var taken []<-chan call.Result
	refused := 0
	for range 40 {
		done := submit(10)
		select {
		case r := <-done:
			if !errors.Is(r.Err, call.ErrOverloaded) {
				t.Fatalf("%+v", r)
			}
			refused++
		default:
			taken = append(taken, done)
		}
	}
	if refused == 0 || n.shard.Status().Overloaded == 0 {
		t.Fatal("nothing was refused")
	}
	if st := n.shard.Status(); st.QueueCalls > 10 || st.InFlight > 2 {
		t.Fatalf("%+v", st)
	}
	resume()
	for _, done := range taken {
		if _, err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != fmt.Sprintf(":%d\r\n", len(taken)) {
		t.Fatalf("%q, %d were taken", got, len(taken))
	}
}

func TestQueueBytes(t *testing.T) {
	n, resume := stalled(t, func(cfg *Config) {
		cfg.Limits.QueueBytes, cfg.Limits.InFlight, cfg.Limits.RecordBytes = 5000, 1, 100
	})
	var taken []<-chan call.Result
	for i := range 20 {
		c, done := newCall(call.Write, n.shard.lead.leads(), "APPEND", "k", strings.Repeat("v", 1000))
		n.shard.Submit(c)
		select {
		case r := <-done:
			if !errors.Is(r.Err, call.ErrOverloaded) || i < 4 {
				t.Fatalf("call %d: %+v", i, r)
			}
		default:
			taken = append(taken, done)
		}
	}
	if len(taken) > 7 {
		t.Fatalf("%d calls of 1000 bytes wait", len(taken))
	}
	resume()
	for _, done := range taken {
		if _, err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
}

// A call that waits longer than it may is not done, and is not proposed later either.
func TestQueueTimeout(t *testing.T) {
	n, resume := stalled(t, func(cfg *Config) { cfg.Limits.InFlight = 1 })
	submit := func(kind call.Kind, ms uint32, v string) <-chan call.Result {
		c, done := newCall(kind, n.shard.lead.leads(), "APPEND", "k", v)
		c.TimeoutMS = ms
		n.shard.Submit(c)
		return done
	}
	first := submit(call.Write, 10_000, "first") // in flight
	waitFor(t, "the log hangs", func() bool { return n.shard.LogStalled() > 0 })
	late := submit(call.Write, 50, "late")
	patient := submit(call.Write, 10_000, "patient")
	if _, err := await(t, late); !errors.Is(err, call.ErrTimeout) {
		t.Fatal(err)
	}
	resume()
	for _, done := range []<-chan call.Result{first, patient} {
		if _, err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(n.mustDo(t, call.Read, "RANGE", "k")); fmt.Sprint(got) != "[first patient]" {
		t.Fatal(got)
	}
}

// Reads have a bound of their own.
func TestReadBound(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	block := make(chan struct{})
	c.tune = func(_ string, cfg *Config) {
		cfg.Limits.QueueReads = 5
		cfg.Prober = slowProber{block}
	}
	c.startAll()
	n := c.leader()
	var taken []<-chan call.Result
	refused := 0
	for range 20 {
		r, done := newCall(call.Read, n.shard.lead.leads(), "LEN", "k")
		r.TimeoutMS = 500
		n.shard.Submit(r)
		select {
		case res := <-done:
			if !errors.Is(res.Err, call.ErrOverloaded) {
				t.Fatalf("%+v", res)
			}
			refused++
		default:
			taken = append(taken, done)
		}
	}
	if len(taken) != 5 || refused != 15 {
		t.Fatalf("%d taken, %d refused", len(taken), refused)
	}
	close(block)
	for _, done := range taken {
		_, _ = await(t, done) // answered
	}
}

// Calls that make no sense are refused, and so is a call that is too large. A call that
// is larger than a record goes alone into one.
func TestCallSizes(t *testing.T) {
	c := newTestCluster(t, "a")
	c.tune = func(_ string, cfg *Config) { cfg.Limits.MaxCallBytes = 200_000 }
	c.startAll()
	n := c.leader()
	if _, err := n.do(t, call.Write, "APPEND", "k", strings.Repeat("v", 200_000)); !errors.Is(err, call.ErrTooLarge) {
		t.Fatal(err)
	}
	if got := n.mustDo(t, call.Write, "APPEND", "k", strings.Repeat("v", 190_000)); got != ":1\r\n" {
		t.Fatal(got)
	}
	for _, kind := range []call.Kind{call.Write, call.Read, call.ReadStale, call.Block, call.Wait, call.Admin, 99} {
		for _, cmds := range [][][][]byte{nil, {{}}} {
			done := make(chan call.Result, 1)
			n.shard.Submit(&call.Call{
				Term: n.shard.lead.leads(), Kind: kind, Cmds: cmds, TimeoutMS: 1000, Proto: 2,
				Done: func(r call.Result) { done <- r },
			})
			if _, err := await(t, done); !errors.Is(err, errEmptyCall) {
				t.Fatalf("kind %d, %v: %v", kind, cmds, err)
			}
		}
	}
	// An EXEC is one call, with one reply.
	done := make(chan call.Result, 1)
	n.shard.Submit(&call.Call{
		Term: n.shard.lead.leads(), Kind: call.Write, Multi: true, TimeoutMS: 1000, Proto: 2,
		Cmds: [][][]byte{words("APPEND", "m", "1"), words("LEN", "m")}, Done: func(r call.Result) { done <- r },
	})
	if got, err := await(t, done); err != nil || got != "*2\r\n:1\r\n:1\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
	// A read that panics is answered with an error, and the shard lives on.
	if got := n.mustDo(t, call.Read, "PANIC"); got != "-ERR internal error\r\n" {
		t.Fatal(got)
	}
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":1\r\n" {
		t.Fatal(got)
	}
}

// A read error of the disk is this node's end.
func TestReadFailure(t *testing.T) {
	c := newTestCluster(t, "a")
	fatal := make(chan error, 10)
	c.tune = func(_ string, cfg *Config) { cfg.OnFatal = func(err error) { fatal <- err } }
	c.startAll()
	n := c.leader()
	for range 3 {
		if _, err := n.do(t, call.Read, "FAIL"); !errors.Is(err, call.ErrStopping) {
			t.Fatal(err)
		}
	}
	if err := <-fatal; !strings.Contains(err.Error(), "disk") {
		t.Fatal(err)
	}
	if len(fatal) > 0 {
		t.Fatal("told twice")
	}
}

// Writes of one caller keep their order, however they are cut into records. Of two sent
// in order under one term, the second is never done after the first was refused.
func TestWriteOrder(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Limits.RecordBytes = 150 }
	c.startAll()
	const callers, rounds = 6, 4
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range callers {
		wg.Go(func() {
			key := fmt.Sprint("k", w)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c.pipeline(key, i)
			}
		})
	}
	for i := range rounds {
		n := c.leader()
		switch i % 2 {
		case 0:
			n.shard.Restart()
		case 1:
			c.net.isolate(n.id, c.ids, true, true)
			c.leader(c.others(n.id)...)
			c.net.isolate(n.id, c.ids, false, true)
		}
		c.leader()
		time.Sleep(100 * time.Millisecond) // some work between faults
	}
	close(stop)
	wg.Wait()
	c.leader()
	c.converge()
	for w := range callers {
		checkOrder(t, values(c.leader().mustDo(t, call.Read, "RANGE", fmt.Sprint("k", w))))
	}
}

// pipeline submits 20 writes to key under one term, the values "i.0" to "i.19", and awaits
// them. None may be done after one was refused.
func (c *testCluster) pipeline(key string, i int) {
	n := c.leaderNow()
	term := n.shard.lead.leads()
	var all []<-chan call.Result
	for j := range 20 {
		k, done := newCall(call.Write, term, "APPEND", key, fmt.Sprintf("%d.%d", i, j))
		n.shard.Submit(k)
		all = append(all, done)
	}
	refused := -1
	for j, done := range all {
		_, err := await(c.t, done)
		var moved *call.NotLeader
		if errors.As(err, &moved) && refused < 0 {
			refused = j
		}
		if err == nil && refused >= 0 {
			c.t.Errorf("%d was done after %d was refused", j, refused)
		}
	}
}

// checkOrder checks that the values of pipelines rise: "0.3", "0.5", "2.0" …
func checkOrder(t *testing.T, list []string) {
	t.Helper()
	last := [2]int{-1, -1}
	for _, v := range list {
		var at [2]int
		if _, err := fmt.Sscanf(v, "%d.%d", &at[0], &at[1]); err != nil {
			t.Fatal(err)
		}
		if at[0] < last[0] || at[0] == last[0] && at[1] <= last[1] {
			t.Fatalf("%v after %v", at, last)
		}
		last = at
	}
}

// slowProber answers once it is released.
type slowProber struct{ block chan struct{} }

func (p slowProber) Probe(ctx context.Context, _ string, _ uint32) (call.Probe, error) {
	select {
	case <-p.block:
	case <-ctx.Done():
	}
	return call.Probe{}, call.ErrNotSent
}
