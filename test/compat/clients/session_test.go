package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// queue is a work queue on one stream, as an application would write it with its library.
// Any call may fail while a node is down; the session then repeats it.
type queue interface {
	create(ctx context.Context) error
	add(ctx context.Context, value string) error
	// addBoth adds two values in a transaction.
	addBoth(ctx context.Context, a, b string) error
	// read returns new entries for a consumer. If there are none, it waits for the time
	// block, which may be zero, and then returns none.
	read(ctx context.Context, consumer string, block time.Duration) ([]entry, error)
	ack(ctx context.Context, ids ...string) error
	// claim takes over the pending entries of all consumers, idle or not.
	claim(ctx context.Context, consumer string) ([]entry, error)
	pending(ctx context.Context) (int64, error)
	len(ctx context.Context) (int64, error)
	close()
}

// entry is one item of the queue.
type entry struct{ id, value string }

const (
	// sessionPatience is the limit of one step of a session. It covers an election on a busy
	// machine and the client's own waits.
	sessionPatience = 60 * time.Second
	retryPause      = 50 * time.Millisecond
	// sessionBlock is the time for which reads block. The session adds an entry earlier.
	sessionBlock = 30 * time.Second
)

// session is the run of one client over a queue.
type session struct {
	t         *testing.T
	q         queue
	sent      []string
	processed map[string]bool
}

// must repeats a step until it succeeds. It also repeats a step whose outcome is unknown,
// because the queue promises at-least-once only.
func (s *session) must(name string, step func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	for {
		err := step(ctx)
		if err == nil {
			return
		}
		if !passes(err) {
			s.t.Fatalf("%s: %v", name, err)
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not in %v: %v", name, sessionPatience, err)
		case <-time.After(retryPause):
		}
	}
}

// passes reports whether an application should expect an error while a node is down: a
// broken connection, or an error of Millrace such as CLUSTERDOWN.
func passes(err error) bool {
	var ne net.Error
	if errors.As(err, &ne) || errors.Is(err, net.ErrClosed) {
		return true
	}
	text := err.Error()
	for _, word := range []string{
		"CLUSTERDOWN", "TRYAGAIN", "OVERLOADED", "INDOUBT", "EOF", "connection refused", "connection reset", "broken pipe", "closing", "closed",
	} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

func (s *session) add(value string) {
	s.t.Helper()
	s.must("add "+value, func(ctx context.Context) error { return s.q.add(ctx, value) })
	s.sent = append(s.sent, value)
}

// work processes and acknowledges entries.
func (s *session) work(entries []entry) {
	s.t.Helper()
	if len(entries) == 0 {
		return
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
		s.processed[e.value] = true
	}
	s.must("ack", func(ctx context.Context) error { return s.q.ack(ctx, ids...) })
}

// drain reads as one consumer until there are no new entries, and then takes over the
// pending entries of others.

func (s *session) drain(consumer string) {
	s.t.Helper()
	for {
		var got []entry
		s.must("read", func(ctx context.Context) (err error) {
			got, err = s.q.read(ctx, consumer, 0)
			return err
		})
		if len(got) == 0 {
			s.must("claim", func(ctx context.Context) (err error) {
				got, err = s.q.claim(ctx, consumer)
				return err
			})
		}
		if len(got) == 0 {
			return
		}
		s.work(got)
	}
}

// runSession works through the queue. In between, it calls kill to kill the node that the
// client is connected to.

func runSession(t *testing.T, q queue, kill func()) {
	t.Helper()
	defer q.close()
	s := &session{t: t, q: q, processed: make(map[string]bool)}
	s.must("create", func(ctx context.Context) error {
		err := q.create(ctx)
		if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return nil // an earlier attempt succeeded, although its reply was lost
		}
		return err
	})
	for i := range 10 {
		s.add(fmt.Sprintf("before-%d", i))
	}
	s.must("transaction", func(ctx context.Context) error { return q.addBoth(ctx, "left", "right") })
	s.sent = append(s.sent, "left", "right")

	// One consumer processes an entry and leaves others pending. Another takes them over.
	var got []entry
	s.must("read", func(ctx context.Context) (err error) {
		got, err = q.read(ctx, "quitter", sessionBlock)
		return err
	})
	if len(got) < 2 {
		t.Fatalf("the first read got %v", got)
	}
	s.work(got[:1])
	s.drain("heir")

	// A read blocks on the empty queue and returns the entry that is added next.
	served := make(chan struct{})
	var woken []entry
	var readErr error
	go func() { // ends with the read, which sessionBlock bounds
		defer close(served)
		ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
		defer cancel()
		woken, readErr = q.read(ctx, "sleeper", sessionBlock)
	}()
	s.add("wake up")
	<-served
	if readErr != nil || !slices.ContainsFunc(woken, func(e entry) bool { return e.value == "wake up" }) {
		t.Errorf("the blocked read got %v, %v", woken, readErr)
	}
	s.work(woken)

	kill()
	for i := range 10 {
		s.add(fmt.Sprintf("after-%d", i))
	}
	s.drain("heir")

	for _, v := range s.sent {
		if !s.processed[v] {
			t.Errorf("%q was never processed", v)
		}
	}
	var pending, length int64
	s.must("pending", func(ctx context.Context) (err error) {
		pending, err = q.pending(ctx)
		return err
	})
	s.must("length", func(ctx context.Context) (err error) {
		length, err = q.len(ctx)
		return err
	})
	if pending != 0 || length < int64(len(s.sent)) {
		t.Errorf("%d entries, %d of them pending, after %d were sent and processed", length, pending, len(s.sent))
	}
}

// dialAny returns a dialer that ignores the address and connects to the first of addrs that
// accepts. It stands for a load balancer in front of the nodes.
func dialAny(addrs []string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (nc net.Conn, err error) {
		var d net.Dialer
		for _, a := range addrs {
			if nc, err = d.DialContext(ctx, network, a); err == nil {
				return nc, nil
			}
		}
		return nil, err
	}
}
