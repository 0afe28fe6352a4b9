package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

func fastPings(_ int, c *Config) {
	c.Limits.PingEvery = 20 * time.Millisecond
	c.Limits.HandshakeTimeout = 500 * time.Millisecond
}

// A connection on which nothing arrives any more is given up, although TCP has not
// noticed.
func TestHalfOpen(t *testing.T) {
	n := newNet(t, 2, fastPings)
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	connect(t, a, b)
	b.handler.onSubmit(func(*call.Call) {})
	got := send(a.Peers, b.id, writeCall(1, "X"))
	p.freeze(true)
	if r := wait(t, "answer", got); r.Err != call.ErrInDoubt {
		t.Errorf("got %v", r.Err)
	}
	// The other side may have a new connection by then: a dials the address that b gave itself,
	// past the proxy.
	eventually(t, "the other side has ended it", func() bool { return strings.Contains(b.logs.String(), "peer disconnected") })
	// The end of the connection is logged after the call is answered.
	eventually(t, "the reason logged", func() bool { return strings.Contains(a.logs.String(), ErrSilent.Error()) })
	n.setAddr(b.id, b.Addr().String())
	connect(t, a, b)
	p.freeze(false)
}

// An idle connection stays open, and its round trip is measured.
func TestIdle(t *testing.T) {
	n := newNet(t, 2, fastPings)
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	eventually(t, "a round trip measured", func() bool { s := a.Stats()[0]; return s.RTT > 0 && s.BytesIn > 10*frameSize })
	if s := a.Stats()[0]; s.Connects != 1 || time.Since(s.LastContact) > time.Second || s.Node != b.id {
		t.Errorf("stats %+v", s)
	}
}

// A slow connection that is busy with one large frame for seconds is not taken for dead.
func TestSlowLink(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.PingEvery = 200 * time.Millisecond }) // given up after a second of silence
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	p.slow(40 * time.Millisecond) // per 16 KiB, so 2.6 s for the frame
	n.setAddr(b.id, p.addr())
	connect(t, a, b)
	if r := wait(t, "reply", send(a.Peers, b.id, writeCall(1, strings.Repeat("x", 1<<20)))); r.Err != nil {
		t.Error(r.Err)
	}
	if s := a.Stats()[0]; s.Connects != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A node with the higher ID may not dial, but asks to be dialled. It sends its address,
// so the other node needs none.
func TestDialMe(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	n.setAddr(b.id, "")
	connect(t, b, a)
	if r := wait(t, "reply", send(b.Peers, a.id, writeCall(1, "X"))); r.Err != nil {
		t.Error(r.Err)
	}
}

// A node that comes back under another address is found again, even if the end of its
// old connection went unnoticed.
func TestReturn(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		t.Run(fmt.Sprintf("unseen=%v", unseen), func(t *testing.T) {
			// Pings must not notice the end of the old connection.
			patient := func(_ int, c *Config) { c.Limits.PingEvery = time.Hour }
			n := newNet(t, 2, patient)
			a, b := n.nodes[0], n.nodes[1]
			p := newProxy(t, b.Addr().String())
			n.setAddr(b.id, p.addr())
			connect(t, a, b)
			if unseen {
				p.freeze(true)
			}
			b.Close()
			if !unseen {
				eventually(t, "parted", func() bool { return !a.Connected(b.id) })
			}
			b2 := n.add(t, 1, patient)
			connect(t, b2, a)
			if r := wait(t, "reply", send(a.Peers, b2.id, writeCall(1, "X"))); r.Err != nil {
				t.Error(r.Err)
			}
			p.freeze(false)
		})
	}
}

// Reach returns when the node is connected, when the shard's transport closes, or after
// its time.
func TestReach(t *testing.T) {
	n := newNet(t, 1, nil)
	a := n.nodes[0]
	reach := func(shard uint32) (*Transport, <-chan bool) {
		tr, done := a.Transport(shard, TransportOptions{}), make(chan bool, 1)
		go func() { done <- tr.Reach(raft.ServerID(nodeID(1)), time.Hour) }()
		return tr, done
	}
	tr, closed := reach(1)
	_, reached := reach(2)
	eventually(t, "a connection is sought", func() bool { l := a.link(nodeID(1)); l.mu.Lock(); defer l.mu.Unlock(); return l.seeking })
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if !wait(t, "the closed one", closed) {
		t.Error("Reach waits although the transport is closed")
	}
	if b := n.add(t, 1, nil); !wait(t, b.id, reached) {
		t.Error("not reached")
	}
	if a.Transport(3, TransportOptions{}).Reach(raft.ServerID(nodeID(2)), 0) {
		t.Error("reached a node that is not there, in no time")
	}
}

// A request to dial ends an attempt that hangs at an address without answers.
func TestDialMeEndsAnAttempt(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.HandshakeTimeout = time.Minute })
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	p.freeze(true)
	n.setAddr(b.id, p.addr())
	a.Connect(b.id)
	l := a.link(b.id)
	eventually(t, "an attempt hangs", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.giveUp != nil })
	connect(t, b, a)
	p.freeze(false)
}

// A node that keeps sending requests and reads no answers is cut off.
func TestNotReading(t *testing.T) {
	n := newNet(t, 1, func(_ int, c *Config) { c.Limits.QueueBytes = 1 << 10 })
	a := n.nodes[0]
	c := &conn{p: a.Peers, l: newLink(a.Peers, nodeID(1)), done: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	c.idle = time.NewTimer(time.Hour)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c.nc = ours
	c.mu.Lock()
	q := &c.queues[raftQueue]
	q.total = maxReplyPayload // as if so many bytes were queued
	c.send(raftQueue, outFrame{typ: typePing | answer})
	if c.choked {
		t.Error("cut off within the bound")
	}
	q.total += 2 << 10
	c.send(raftQueue, outFrame{typ: typePing | answer})
	if !c.choked {
		t.Error("not cut off")
	}
	c.mu.Unlock()
	_, err := ours.Read(make([]byte, 1))
	if err == nil {
		t.Error("the connection is open")
	}
	c.fail(err)
	if c.cause != ErrNotReading {
		t.Errorf("the cause is %v", c.cause)
	}
}

// A node stops trying to connect once no caller has asked for wantFor.
func TestSeekEnds(t *testing.T) {
	n := newNet(t, 1, nil)
	a := n.nodes[0]
	a.Connect(nodeID(3))
	l := a.link(nodeID(3))
	l.mu.Lock()
	l.wanted = time.Now().Add(-wantFor - time.Second)
	l.mu.Unlock()
	eventually(t, "seeking ended", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.seeking })
	if s := a.Stats()[0]; !strings.Contains(s.LastError, ErrNoAddress.Error()) {
		t.Errorf("stats %+v", s)
	}
}

// When connections are made and broken in quick succession, every call is answered, and
// one connection remains in the end.
func TestStorm(t *testing.T) {
	n := newNet(t, 2, fastPings)
	a, b := n.nodes[0], n.nodes[1]
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var cuts atomic.Int64
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			// On a busy machine a handshake may take longer than this, so only a connection
			// that exists is broken.
			if time.Sleep(3 * time.Millisecond); a.link(b.id).connected() != nil {
				p.cut()
				cuts.Add(1)
			}
		}
	}()
	connect(t, a, b)
	answered := map[string]int{}
	for i := 0; i < 3000 || cuts.Load() < 20; i++ {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		r := wait(t, "answer", send(from.Peers, to.id, writeCall(1, "X")))
		answered[fmt.Sprint(r.Err)]++
	}
	cancel()
	<-done
	connect(t, a, b)
	t.Log(answered)
	for err := range answered {
		if err != "<nil>" && err != call.ErrInDoubt.Error() && err != call.ErrNotSent.Error() {
			t.Errorf("a call ended with %s", err)
		}
	}
	if answered["<nil>"] == 0 {
		t.Error("nothing came through")
	}
}

func TestCloseAnswersAll(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	b.handler.onSubmit(func(*call.Call) {})
	connect(t, a, b)
	got := send(a.Peers, b.id, writeCall(1, "X"))
	a.Close()
	if r := wait(t, "answer", got); call.NotDone(r.Err) && r.Err != call.ErrNotSent {
		t.Errorf("got %v", r.Err)
	}
	if _, err := a.Hello(context.Background(), b.Addr().String()); err == nil {
		t.Error("a closed node says hello")
	}
	a.Close() // again
}

func TestRateLimit(t *testing.T) {
	r := rateLimit{perSecond: 1000}
	now := time.Unix(100, 0)
	if d := r.take(now, 500); d > 0 {
		t.Errorf("the first bytes wait %v", d)
	}
	// 500 bytes take half a second, of which the first tenth of a second is free.
	if d := r.take(now, 1); d != 400*time.Millisecond {
		t.Errorf("the next wait %v", d)
	}
	if d := r.take(now.Add(time.Hour), 100); d > 0 {
		t.Errorf("an hour later: %v", d)
	}
	if d := r.take(now.Add(time.Hour), 1000); d != 0 {
		t.Errorf("an hour saved up: %v", d)
	}
	if d := r.take(now.Add(time.Hour), 1); d != time.Second {
		t.Errorf("behind it: %v", d)
	}
}

func TestNoiseLimit(t *testing.T) {
	var n noiseLimit
	now := time.Unix(100, 0)
	logged := 0
	for range 1000 {
		if _, ok := n.allow(now); ok {
			logged++
		}
	}
	if skipped, ok := n.allow(now.Add(time.Second)); logged != 10 || !ok || skipped != 990 {
		t.Errorf("%d logged, then %v with %d skipped", logged, ok, skipped)
	}
	if _, ok := n.allow(now.Add(time.Second)); ok {
		t.Error("two a second")
	}
}
