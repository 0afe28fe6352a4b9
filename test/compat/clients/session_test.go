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

// queue is a work queue on one stream, as an application writes it with its library.
// Every call may fail while a node is away; the session then repeats it.
type queue interface {
	create(ctx context.Context) error
	add(ctx context.Context, value string) error
	// addBoth adds two values in a transaction.
	addBoth(ctx context.Context, a, b string) error
	// read returns new entries for a consumer; none when block, which may be zero, has
	// passed.
	read(ctx context.Context, consumer string, block time.Duration) ([]entry, error)
	ack(ctx context.Context, ids ...string) error
	// claim takes over what any consumer has pending, idle or not.
	claim(ctx context.Context, consumer string) ([]entry, error)
	pending(ctx context.Context) (int64, error)
	len(ctx context.Context) (int64, error)
	close()
}

// entry is one item of the queue.
type entry struct{ id, value string }

const (
	// sessionPatience bounds one step of a session: an election on a busy machine, and
	// what the client waits by itself.
	sessionPatience = 60 * time.Second
	retryPause      = 50 * time.Millisecond
	// sessionBlock is how long blocked reads wait. Something comes before.
	sessionBlock = 30 * time.Second
)

// session is the run of one client over a queue.
type session struct {
	t         *testing.T
	q         queue
	sent      []string
	processed map[string]bool
}

// must repeats a step until it succeeds. An outcome that is in doubt is repeated as well:
// the queue is at least once.
func (s *session) must(what string, step func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	for {
		err := step(ctx)
		if err == nil {
			return
		}
		if !passes(err) {
			s.t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not in %v: %v", what, sessionPatience, err)
		case <-time.After(retryPause):
		}
	}
}

// passes reports whether an error is one that an application lives with while a node is
// away: a broken connection, or a word of Millrace that says so.
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

// drain reads as one consumer until nothing new is there, and takes over what others left.
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

// runSession works through the queue; kill kills the node that the client talks to.
func runSession(t *testing.T, q queue, kill func()) {
	t.Helper()
	defer q.close()
	s := &session{t: t, q: q, processed: make(map[string]bool)}
	s.must("create", func(ctx context.Context) error {
		err := q.create(ctx)
		if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return nil // an attempt before was done after all
		}
		return err
	})
	for i := range 10 {
		s.add(fmt.Sprintf("before-%d", i))
	}
	s.must("transaction", func(ctx context.Context) error { return q.addBoth(ctx, "left", "right") })
	s.sent = append(s.sent, "left", "right")

	// One consumer processes a few and dies with others in hand; another takes them over.
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

	// A read that blocks before there is anything is served by what comes.
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

// dialAny returns a dialer that connects to the first of addrs that takes it, whatever
// address it is asked for: what a name or a load balancer before the nodes would do.
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
