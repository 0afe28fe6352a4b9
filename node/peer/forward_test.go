package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
)

// Calls of both directions use the same connection.
func TestForward(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	var all []<-chan call.Result
	var want []string
	for i := range 200 {
		for _, from := range []*testNode{a, b} {
			to := b
			if from == b {
				to = a
			}
			c := &call.Call{Shard: uint32(i), Term: uint64(i) << 33, Kind: call.Kind(1 + i%6), Proto: uint8(2 + i%2), Multi: i%3 == 0,
				TimeoutMS: 5, BlockMS: uint64(i) << 32, Cmds: [][][]byte{{[]byte("XADD"), []byte("s"), {}, bytes.Repeat([]byte{byte(i)}, i*40)}, {[]byte("PING")}}}
			want = append(want, string(echo(c)))
			all = append(all, send(from.Peers, to.id, c))
		}
	}
	for i, ch := range all {
		if r := wait(t, "reply", ch); r.Err != nil || string(r.Reply) != want[i] {
			t.Fatalf("call %d:\ngot  %s, %v\nwant %s", i, r.Reply, r.Err, want[i])
		}
	}
	for _, ch := range all {
		if len(ch) != 0 {
			t.Fatal("a call was answered twice")
		}
	}
	for _, s := range a.Stats() {
		if s.Connects != 1 || !s.Connected || s.BytesIn == 0 || s.BytesOut == 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

func TestForwardSelf(t *testing.T) {
	a := newNet(t, 1, nil).nodes[0]
	if r := wait(t, "reply", send(a.Peers, a.id, writeCall(3, "PING"))); r.Err != nil || !strings.HasPrefix(string(r.Reply), "3/7/") {
		t.Errorf("got %q, %v", r.Reply, r.Err)
	}
	if p, err := a.Probe(context.Background(), a.id, 4); err != nil || p.Term != 5 {
		t.Errorf("probe %+v, %v", p, err)
	}
}

// The words of a call do not change when the connection reads further frames.
func TestForwardedWordsAreKept(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var mu sync.Mutex
	var kept []*call.Call
	b.handler.onSubmit(func(c *call.Call) {
		mu.Lock()
		kept = append(kept, c)
		mu.Unlock()
		c.Done(call.Result{Reply: []byte("+OK\r\n")})
	})
	connect(t, a, b)
	kinds := []call.Kind{call.Write, call.Block}
	for i := range 2000 {
		size := i % 300
		if i%100 == 0 {
			size = 100_000 // more than the read buffer
		}
		c := writeCall(1, fmt.Sprint(i), strings.Repeat(string(rune('a'+i%26)), size))
		c.Kind = kinds[i%2]
		if r := wait(t, "reply", send(a.Peers, b.id, c)); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for i, c := range kept {
		w := c.Cmds[0]
		if string(w[0]) != fmt.Sprint(i) || strings.Trim(string(w[1]), string(rune('a'+i%26))) != "" {
			t.Fatalf("call %d reads %q now", i, w)
		}
	}
}

func TestForwardErrors(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var answer atomic.Value
	b.handler.onSubmit(func(c *call.Call) { c.Done(call.Result{Err: answer.Load().(error)}) })
	connect(t, a, b)
	for _, want := range []error{call.ErrOverloaded, call.ErrTimeout, call.ErrStopping, call.ErrNoShard, call.ErrTooLarge, call.ErrInDoubt, call.ErrCanceled} {
		answer.Store(fmt.Errorf("there: %w", want))
		if r := wait(t, "answer", send(a.Peers, b.id, writeCall(1, "X"))); !errors.Is(r.Err, want) {
			t.Errorf("%v came as %v", want, r.Err)
		}
	}
	c := writeCall(1, strings.Repeat("x", maxCallPayload))
	if r := wait(t, "answer", send(a.Peers, b.id, c)); !errors.Is(r.Err, call.ErrTooLarge) {
		t.Errorf("a call over the frame limit: %v", r.Err)
	}
}

func TestNotSent(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	n.setAddr(b.id, "")
	if r := wait(t, "answer", send(a.Peers, b.id, writeCall(1, "X"))); r.Err != call.ErrNotSent {
		t.Errorf("without an address: %v", r.Err)
	}
	b.Close()
	if r := wait(t, "answer", send(b.Peers, a.id, writeCall(1, "X"))); r.Err != call.ErrNotSent {
		t.Errorf("after Close: %v", r.Err)
	}
}

// When a connection breaks, a call that may have arrived is in doubt, unless it has no
// effect. The calls that are still open on the other node are cancelled there.
func TestBreak(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	submitted := make(chan *call.Call, 10)
	canceled := make(chan *call.Call, 10)
	b.handler.onSubmit(func(c *call.Call) { submitted <- c })
	b.handler.onCancel(func(c *call.Call) { canceled <- c })
	connect(t, a, b)
	want := map[call.Kind]error{call.Read: call.ErrNotSent, call.ReadStale: call.ErrNotSent, call.Wait: call.ErrNotSent,
		call.Write: call.ErrInDoubt, call.Block: call.ErrInDoubt, call.Admin: call.ErrInDoubt}
	got := map[call.Kind]<-chan call.Result{}
	there := map[call.Kind]*call.Call{}
	for k := range want {
		c := writeCall(1, "X")
		c.Kind = k
		got[k] = send(a.Peers, b.id, c)
		there[k] = wait(t, "arrival", submitted)
	}
	p.cut()
	for k, err := range want {
		if r := wait(t, "answer", got[k]); r.Err != err {
			t.Errorf("kind %d: %v, want %v", k, r.Err, err)
		}
	}
	gone := map[*call.Call]bool{wait(t, "cancel", canceled): true, wait(t, "cancel", canceled): true}
	if !gone[there[call.Block]] || !gone[there[call.Wait]] || len(canceled) != 0 {
		t.Errorf("cancelled %v", gone)
	}
	for _, c := range there {
		c.Done(call.Result{Reply: []byte("late")}) // harmless
	}
	// The link connects again by itself.
	eventually(t, "connected again", func() bool { return a.Connected(b.id) && b.Connected(a.id) })
}

// A blocking call is cancelled even if the connection breaks while the call is being
// handed to the handler.
func TestBreakInSubmit(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var known atomic.Pointer[call.Call]
	canceled := make(chan struct{}, 1)
	b.handler.onSubmit(func(c *call.Call) {
		b.link(a.id).conn.Load().fail(errors.New("broken for the test"))
		known.Store(c)
	})
	b.handler.onCancel(func(c *call.Call) {
		if known.Load() == c {
			canceled <- struct{}{}
		}
	})
	connect(t, a, b)
	c := writeCall(1, "XREAD")
	c.Kind = call.Block
	got := send(a.Peers, b.id, c)
	wait(t, "cancellation", canceled)
	if r := wait(t, "answer", got); r.Err != call.ErrInDoubt {
		t.Errorf("got %v", r.Err)
	}
}

// Calls that wait in the send queue behind a blocked socket count as not sent.
func TestBreakBeforeTheSocket(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.QueueBytes = 1 << 30 })
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	connect(t, a, b)
	p.freeze(true)
	big := strings.Repeat("x", 1<<20)
	var got []<-chan call.Result
	for range 32 { // far more than the kernel's buffers take
		got = append(got, send(a.Peers, b.id, writeCall(1, big)))
	}
	p.cut()
	var unsent, doubt int
	for i, ch := range got {
		switch r := wait(t, "answer", ch); r.Err {
		case call.ErrInDoubt:
			doubt++
			if unsent > 0 {
				t.Errorf("call %d is in doubt, although an earlier one was not sent", i)
			}
		case call.ErrNotSent:
			unsent++
		default:
			t.Errorf("call %d: %v", i, r.Err)
		}
	}
	if unsent == 0 || doubt == 0 {
		t.Errorf("%d not sent, %d in doubt", unsent, doubt)
	}
	p.freeze(false)
}

func TestCancel(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var cancels atomic.Int32
	b.handler.onSubmit(func(*call.Call) {})
	b.handler.onCancel(func(c *call.Call) {
		cancels.Add(1)
		c.Done(call.Result{Err: call.ErrCanceled})
	})
	connect(t, a, b)
	c := writeCall(1, "XREAD")
	c.Kind = call.Block
	got := send(a.Peers, b.id, c)
	a.Cancel(b.id, c)
	a.Cancel(b.id, c) // does nothing
	if r := wait(t, "answer", got); r.Err != call.ErrCanceled {
		t.Errorf("got %v", r.Err)
	}
	a.Cancel(b.id, c) // nor this
	a.Cancel(nodeID(9), c)
	// Frames keep their order, so once this call is answered no second cancellation can
	// arrive.
	b.handler.onSubmit(func(c *call.Call) { c.Done(call.Result{}) })
	wait(t, "reply", send(a.Peers, b.id, writeCall(1, "PING")))
	if n := cancels.Load(); n != 1 {
		t.Errorf("%d cancellations arrived", n)
	}
}

// A call beyond a bound is answered with an error, and the connection survives.
func TestOverload(t *testing.T) {
	n := newNet(t, 2, func(i int, c *Config) {
		c.Limits.Calls, c.Limits.Blocked = 20, 10
		if i == 1 {
			c.Limits.Calls, c.Limits.Blocked = 8, 4 // the receiver has bounds too
		}
	})
	a, b := n.nodes[0], n.nodes[1]
	var mu sync.Mutex
	var held []*call.Call
	b.handler.onSubmit(func(c *call.Call) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, c)
	})
	connect(t, a, b)
	for _, tc := range []struct {
		kind         call.Kind
		mine, theirs int
	}{{call.Write, 20, 8}, {call.Block, 10, 4}} {
		var got []<-chan call.Result
		for range tc.mine + 5 {
			c := writeCall(1, "X")
			c.Kind = tc.kind
			got = append(got, send(a.Peers, b.id, c))
		}
		for i, ch := range got[tc.theirs:] {
			if r := wait(t, "refusal", ch); !errors.Is(r.Err, call.ErrOverloaded) {
				t.Errorf("kind %d, call %d: %v", tc.kind, tc.theirs+i, r.Err)
			}
		}
		mu.Lock()
		if len(held) != tc.theirs {
			t.Errorf("%d calls arrived", len(held))
		}
		for _, c := range held {
			c.Done(call.Result{Reply: []byte("x")})
		}
		held = nil
		mu.Unlock()
		for _, ch := range got[:tc.theirs] {
			if r := wait(t, "reply", ch); r.Err != nil {
				t.Error(r.Err)
			}
		}
	}
}

// While a send queue is full, the sender refuses calls. The receiver sends an error in
// place of a reply, and the error tells whether the command ran.
func TestQueueBound(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.QueueBytes = 64 << 10 })
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	reply := bytes.Repeat([]byte("r"), 1<<20)
	var mu sync.Mutex
	var held []*call.Call
	b.handler.onSubmit(func(c *call.Call) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, c)
	})
	connect(t, a, b)
	var got []<-chan call.Result
	for i := range 64 {
		c := writeCall(1, "X")
		if i%2 == 0 {
			c.Kind = call.Read
		}
		got = append(got, send(a.Peers, b.id, c))
	}
	eventually(t, "all arrived", func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == 64 })
	p.freeze(true)
	for _, c := range held {
		c.Done(call.Result{Reply: reply})
	}
	big := strings.Repeat("x", 1<<20)
	refused := false
	for range 64 {
		ch := send(a.Peers, b.id, writeCall(1, big))
		select {
		case r := <-ch:
			refused = refused || errors.Is(r.Err, call.ErrOverloaded)
		default:
		}
	}
	if !refused {
		t.Error("64 MiB were queued where 64 KiB may be")
	}
	p.freeze(false)
	var lost int
	for i, ch := range got {
		r := wait(t, "reply", ch)
		want := call.ErrInDoubt
		if i%2 == 0 {
			want = call.ErrOverloaded
		}
		switch {
		case r.Err == nil && bytes.Equal(r.Reply, reply):
		case errors.Is(r.Err, want):
			lost++
		default:
			t.Errorf("reply %d: %d bytes, %v", i, len(r.Reply), r.Err)
		}
	}
	if lost == 0 {
		t.Error("64 MiB of replies were queued where 64 KiB may be")
	}
}

// Raft's frames overtake waiting replies, but do not keep replies from being sent.
func TestQueuesTakeTurns(t *testing.T) {
	a := newNet(t, 1, nil).nodes[0]
	ours, theirs := net.Pipe() // a pipe without a buffer
	if err := theirs.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &conn{p: a.Peers, l: newLink(a.Peers, nodeID(1)), nc: ours, done: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	c.idle = time.NewTimer(time.Hour)
	fill := make([]byte, 3000)
	put := func(queue int, typ frameType, count int) {
		for range count {
			c.send(queue, outFrame{typ: typ, size: len(fill), payload: func(b []byte) []byte { return append(b, fill...) }})
		}
	}
	const many = 4 << 20 / 3000 // so many frames make 4 MiB
	c.mu.Lock()
	put(callQueue, typeCall, many)
	c.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(c.write)
	fr := newFrameReader(theirs)
	until := func(typ frameType) (passed int) {
		for {
			f, err := fr.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.typ == typ {
				return passed
			}
			passed += frameSize + len(f.payload)
		}
	}
	until(typeCall)
	c.mu.Lock()
	put(raftQueue, typeAppend, many)
	put(callQueue, typeProbe, 1) // marks the end of the replies
	c.mu.Unlock()
	if got := until(typeAppend); got > callBurst {
		t.Errorf("Raft waited behind %d bytes of replies", got)
	}
	if got := until(typeCall); got > raftBurst {
		t.Errorf("replies waited behind %d bytes of Raft frames", got)
	}
	until(typeProbe)
	theirs.Close()
	c.fail(io.EOF)
	writer.Wait()
}

func TestProbe(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := a.Probe(ctx, nodeID(5), 1); !errors.Is(err, call.ErrNotSent) {
		t.Errorf("unknown node: %v", err)
	}
	connect(t, a, b)

	// The first probe gets a frame of its own. The probes that come while it is under way
	// share the next frame.
	gate := make(chan struct{})
	var once sync.Once
	entered := make(chan struct{})
	b.handler.onProbe(func(s uint32) call.Probe {
		once.Do(func() { close(entered); <-gate })
		return call.Probe{Hosted: true, Term: uint64(s)}
	})
	var wg sync.WaitGroup
	ask := func(shard uint32) {
		wg.Go(func() {
			p, err := a.Probe(ctx, b.id, shard)
			if err != nil || p.Term != uint64(shard) {
				t.Errorf("shard %d: %+v, %v", shard, p, err)
			}
		})
	}
	ask(1000)
	wait(t, "first probe", entered)
	for i := range 300 {
		ask(uint32(i))
	}
	pr := &a.link(b.id).probes
	eventually(t, "300 waiting", func() bool {
		pr.mu.Lock()
		defer pr.mu.Unlock()
		return pr.next != nil && len(pr.next.shards) == 300
	})
	hurried, giveUp := context.WithCancel(ctx)
	giveUp()
	if _, err := a.Probe(hurried, b.id, 1); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
	close(gate)
	wg.Wait()
	if f := pr.frames.Load(); f != 2 {
		t.Errorf("301 probes took %d frames", f)
	}
}

// A probe's answer is never older than the probe.
func TestProbeIsFresh(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var now atomic.Uint64
	b.handler.onProbe(func(uint32) call.Probe { return call.Probe{Term: now.Load()} })
	connect(t, a, b)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				before := now.Add(1)
				if p, err := a.Probe(context.Background(), b.id, 1); err != nil || p.Term < before {
					t.Errorf("asked at %d, answered as of %d, %v", before, p.Term, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestProbeBreak(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	connect(t, a, b)
	p.freeze(true)
	errs := make(chan error, 10)
	for i := range 10 {
		go func() {
			_, err := a.Probe(context.Background(), b.id, uint32(i))
			errs <- err
		}()
	}
	pr := &a.link(b.id).probes
	eventually(t, "one sent", func() bool { pr.mu.Lock(); defer pr.mu.Unlock(); return pr.inFlight != nil })
	p.cut()
	for range 10 {
		// A probe that was asked after the cut may succeed on the next connection.
		if err := wait(t, "failure", errs); err != nil && !errors.Is(err, call.ErrNotSent) {
			t.Errorf("got %v", err)
		}
		p.freeze(false)
	}
}

func BenchmarkForward(b *testing.B) {
	for _, depth := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("in-flight=%d", depth), func(b *testing.B) {
			n := newNet(b, 2, nil)
			from, to := n.nodes[0], n.nodes[1]
			ok := []byte("$15\r\n1700000000000-0\r\n")
			to.handler.onSubmit(func(c *call.Call) { c.Done(call.Result{Reply: ok}) })
			connect(b, from, to)
			cmd := writeCall(1, "XADD", "stream:17", "*", "field", strings.Repeat("v", 100)).Cmds
			free := make(chan struct{}, depth)
			for range depth {
				free <- struct{}{}
			}
			done := func(r call.Result) {
				if r.Err != nil {
					b.Error(r.Err)
				}
				free <- struct{}{}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				<-free
				from.Submit(to.id, &call.Call{Shard: 1, Term: 1, Kind: call.Write, Proto: 2, TimeoutMS: 1000, Cmds: cmd, Done: done})
			}
			for range depth {
				<-free
			}
			b.StopTimer()
			var writes uint64
			for _, s := range from.Stats() {
				writes += s.Writes
			}
			b.ReportMetric(float64(writes)/float64(b.N), "writes/op")
		})
	}
}
