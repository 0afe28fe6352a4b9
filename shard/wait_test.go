package shard

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"millrace/call"
)

// block submits a Block call.
func (n *testNode) block(ms uint64, argv ...string) (*call.Call, <-chan call.Result) {
	c, done := newCall(call.Block, n.shard.lead.leads(), argv...)
	c.BlockMS = ms
	n.shard.Submit(c)
	return c, done
}

// waiting waits until count calls are blocked and have been looked at.
func (n *testNode) waiting(t testing.TB, count int) {
	t.Helper()
	waitFor(t, fmt.Sprint(count, " blocked calls"), func() bool {
		w := n.shard.waits
		w.mu.Lock()
		defer w.mu.Unlock()
		looked := 0
		for _, wt := range w.registry.byCall {
			if wt.looked {
				looked++
			}
		}
		return looked == count && len(w.registry.byCall) == count
	})
}

func single(t *testing.T) *testNode {
	t.Helper()
	c := newTestCluster(t, "a")
	c.startAll()
	return c.leader()
}

// Blocked calls of both kinds are served when a value comes.
func TestBlockServed(t *testing.T) {
	n := single(t)
	_, read := n.block(0, "AFTER", "k", "0")
	_, take := n.block(0, "TAKE", "k")
	w, wait := newCall(call.Wait, n.shard.lead.leads(), "TAKE", "k")
	n.shard.Submit(w)
	n.waiting(t, 3)
	n.mustDo(t, call.Write, "APPEND", "other", "x")
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	for name, c := range map[string]struct {
		done <-chan call.Result
		want string
	}{
		"take": {take, "*1\r\n$1\r\nv\r\n"}, "wait": {wait, "+OK\r\n"}, "read": {read, "*1\r\n$1\r\nv\r\n"},
	} {
		if name == "read" || name == "wait" {
			// Its look may come after the value was taken. Then it waits on.
			n.mustDo(t, call.Write, "APPEND", "k", "v")
		}
		if got, err := await(t, c.done); err != nil || got != c.want && name != "read" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got := n.shard.Status().Waiters; got != 0 {
		t.Fatalf("%d waiters are left", got)
	}
}

// A value that is there already is answered at once.
func TestBlockAtOnce(t *testing.T) {
	n := single(t)
	n.mustDo(t, call.Write, "APPEND", "k", "1")
	n.mustDo(t, call.Write, "APPEND", "k", "2")
	_, read := n.block(0, "AFTER", "k", "1")
	if got, err := await(t, read); err != nil || got != "*1\r\n$1\r\n2\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
	for _, want := range []string{"1", "2"} {
		_, take := n.block(0, "TAKE", "k")
		if got, err := await(t, take); err != nil || got != "*1\r\n$1\r\n"+want+"\r\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	_, bad := n.block(0, "AFTER", "k", "x") // an error is an answer
	if got, err := await(t, bad); err != nil || got != "-ERR not an integer\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Calls are served in the order in which they came, each with one value.
func TestBlockInOrder(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	n := c.leader()
	const calls = 100
	var done []<-chan call.Result
	for i := range calls {
		_, d := n.block(0, "TAKE", "k")
		done = append(done, d)
		n.waiting(t, i+1)
	}
	for i := range calls {
		n.mustDo(t, call.Write, "APPEND", "k", fmt.Sprint(i))
	}
	for i, d := range done {
		v := fmt.Sprint(i)
		if got, err := await(t, d); err != nil || got != fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", len(v), v) {
			t.Fatalf("call %d: %q, %v", i, got, err)
		}
	}
	// Many calls that wait do not all go to the log for one value.
	for i := range 200 {
		n.block(0, "TAKE", "m")
		if i%50 == 49 {
			n.waiting(t, i+1)
		}
	}
	before := n.shard.Status().Calls
	n.mustDo(t, call.Write, "APPEND", "m", "v")
	c.eventually("one is served", func() bool { return n.shard.Status().Waiters == 199 })
	c.converge()
	if calls := n.shard.Status().Calls - before; calls > 1+2*maxWindow {
		t.Fatalf("%d commands for one value", calls)
	}
}

// Order holds also for calls that have not been looked at yet when the value comes.
func TestBlockInOrderOfArrival(t *testing.T) {
	n := single(t)
	for i := range 2000 {
		first, took := n.block(0, "TAKE", "k", "arrives")
		second, other := n.block(0, "TAKE", "k")
		for until := time.Now().Add(time.Duration(i%100) * time.Microsecond); time.Now().Before(until); {
		} // at any moment of their way
		n.mustDo(t, call.Write, "APPEND", "k", "v")
		select {
		case <-took:
			n.shard.Cancel(second)
			<-other
		case <-other:
			n.shard.Cancel(first)
			t.Fatalf("the second was served, in round %d", i)
		}
	}
}

// When its time is over a call is answered with the null array of its protocol, and not
// before.
func TestBlockTimeout(t *testing.T) {
	n := single(t)
	for _, argv := range [][]string{{"TAKE", "k"}, {"AFTER", "k", "0"}} {
		for proto, want := range map[uint8]string{2: "*-1\r\n", 3: "_\r\n"} {
			start := time.Now()
			c, done := newCall(call.Block, n.shard.lead.leads(), argv...)
			c.BlockMS, c.Proto = 60, proto
			n.shard.Submit(c)
			got, err := await(t, done)
			if took := time.Since(start); err != nil || got != want || took < 60*time.Millisecond || took > 2*time.Second {
				t.Errorf("%v: %q, %v after %v", argv, got, err, took)
			}
		}
	}
	w, done := newCall(call.Wait, n.shard.lead.leads(), "TAKE", "k")
	w.BlockMS = 10
	n.shard.Submit(w)
	if got, err := await(t, done); err != nil || got != "*-1\r\n" {
		t.Errorf("wait: %q, %v", got, err)
	}
	// The shortest are answered first, whatever the order of arrival.
	var order []uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, ms := range []uint64{200, 50, 120} {
		wg.Add(1)
		c, _ := newCall(call.Block, n.shard.lead.leads(), "TAKE", "k")
		c.BlockMS = ms
		c.Done = func(call.Result) {
			mu.Lock()
			order = append(order, ms)
			mu.Unlock()
			wg.Done()
		}
		n.shard.Submit(c)
	}
	wg.Wait()
	if fmt.Sprint(order) != "[50 120 200]" {
		t.Errorf("order %v", order)
	}
}

// A canceled call takes nothing, and leaves its place.
func TestBlockCancel(t *testing.T) {
	n := single(t)
	c, done := n.block(0, "TAKE", "k")
	_, next := n.block(0, "TAKE", "k")
	n.waiting(t, 2)
	n.shard.Cancel(c)
	if _, err := await(t, done); !errors.Is(err, call.ErrCanceled) {
		t.Fatal(err)
	}
	n.shard.Cancel(c) // nothing more happens
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	if got, err := await(t, next); err != nil || got != "*1\r\n$1\r\nv\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
	select {
	case r := <-done:
		t.Fatalf("answered twice: %+v", r)
	default:
	}
	w, _ := newCall(call.Write, n.shard.lead.leads(), "APPEND", "k", "v")
	n.shard.Cancel(w) // a write cannot be canceled
}

// Blocked calls have a bound, and end with the term and with the shard.
func TestBlockEnds(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Limits.Waiters = 3 }
	c.startAll()
	n := c.leader()
	var done []<-chan call.Result
	for range 3 {
		_, d := n.block(0, "TAKE", "k")
		done = append(done, d)
	}
	_, over := n.block(0, "TAKE", "k")
	if _, err := await(t, over); !errors.Is(err, call.ErrOverloaded) {
		t.Fatal(err)
	}
	n.waiting(t, 3)
	if err := n.shard.Transfer(background(t), c.others(n.id)[0]); err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		var moved *call.NotLeader
		if _, err := await(t, d); !errors.As(err, &moved) {
			t.Fatal(err)
		}
	}
	n = c.leader()
	_, last := n.block(0, "TAKE", "k")
	n.waiting(t, 1)
	if err := n.shard.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := await(t, last); !errors.Is(err, call.ErrStopping) {
		t.Fatal(err)
	}
	_, late := n.block(0, "TAKE", "k")
	if _, err := await(t, late); !errors.Is(err, call.ErrStopping) {
		t.Fatal(err)
	}
}

// A value reaches the call that waits for it, although an earlier call leaves at that
// moment or has no use for the value. No later write comes to wake anybody once more.
func TestBlockNobodyIsForgotten(t *testing.T) {
	n := single(t)
	for i := range 2000 {
		stays := i%2 == 0
		guest, gone := n.block(0, "TAKE", "k", map[bool]string{true: "never", false: "arrives"}[stays])
		_, done := n.block(0, "TAKE", "k")
		c, appended := newCall(call.Write, n.shard.lead.leads(), "APPEND", "k", "v")
		for until := time.Now().Add(time.Duration(i%40) * time.Microsecond); time.Now().Before(until); {
		} // at any moment of their way
		n.shard.Submit(c)
		for until := time.Now().Add(time.Duration(i%70) * time.Microsecond); time.Now().Before(until); {
		}
		if !stays {
			n.shard.Cancel(guest)
			if _, err := await(t, gone); err == nil {
				n.mustDo(t, call.Write, "APPEND", "k", "back")
			}
		}
		for _, d := range []<-chan call.Result{appended, done} {
			if got, err := await(t, d); err != nil || got == "*-1\r\n" {
				t.Fatalf("round %d: %q, %v", i, got, err)
			}
		}
		if stays {
			n.shard.Cancel(guest)
			<-gone
		}
	}
}
