package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
)

// Leave waits for the answer to a call that is under way, and no further call is sent.
func TestLeave(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	taken := make(chan *call.Call, 1)
	b.handler.onSubmit(func(c *call.Call) { taken <- c })
	connect(t, a, b)
	first := send(a.Peers, b.id, writeCall(1, "XADD"))
	held := wait(t, "call", taken)

	left := make(chan error, 1)
	go func() { left <- b.Leave(context.Background()) }()
	eventually(t, "refused", func() bool {
		select {
		case r := <-send(a.Peers, b.id, writeCall(1, "XADD")):
			return errors.Is(r.Err, call.ErrNotSent)
		case c := <-taken: // it was sent before the leave frame came
			c.Done(call.Result{})
			return false
		}
	})
	select {
	case err := <-left:
		t.Fatalf("Leave returned %v while a call was open", err)
	default:
	}
	held.Done(call.Result{Reply: []byte("+OK\r\n")})
	if r := wait(t, "reply", first); r.Err != nil || string(r.Reply) != "+OK\r\n" {
		t.Errorf("the call under way: %q, %v", r.Reply, r.Err)
	}
	if err := wait(t, "return of Leave", left); err != nil {
		t.Error(err)
	}
}

// A call that nobody answers does not keep a node from leaving for longer than it wants.
func TestLeaveEndsWithContext(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	taken := make(chan *call.Call, 1)
	b.handler.onSubmit(func(c *call.Call) { taken <- c })
	connect(t, a, b)
	open := send(a.Peers, b.id, writeCall(1, "XADD"))
	wait(t, "call", taken)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := b.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Leave: %v", err)
	}
	b.Close()
	if r := wait(t, "end", open); !errors.Is(r.Err, call.ErrInDoubt) {
		t.Errorf("the open call: %v", r.Err)
	}
}

// A node that leaves and closes under load leaves no call in doubt.
func TestLeaveUnderLoad(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	var stop atomic.Bool
	var done, refused atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for !stop.Load() {
				switch r := <-send(a.Peers, b.id, writeCall(1, "XADD")); {
				case r.Err == nil:
					done.Add(1)
				case errors.Is(r.Err, call.ErrNotSent):
					refused.Add(1)
				default:
					t.Errorf("a call ended with %v", r.Err)
				}
			}
		})
	}
	eventually(t, "busy", func() bool { return done.Load() > 1000 })
	if err := b.Leave(context.Background()); err != nil {
		t.Error(err)
	}
	b.Close()
	eventually(t, "refused", func() bool { return refused.Load() > 0 })
	stop.Store(true)
	clients.Wait()
}
