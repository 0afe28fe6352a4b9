package peer

import (
	"context"
	"sync"
	"time"
)

// rateLimit spreads bytes over time. At 1,000 bytes a second, 100 bytes pass at once
// after a pause, and 500 more have to wait half a second.
type rateLimit struct {
	perSecond int64

	mu   sync.Mutex
	next time.Time // when the bytes let through so far are paid for; guarded by mu
}

// wait returns nil once n more bytes may be sent, or the error of ctx.
func (r *rateLimit) wait(ctx context.Context, n int) error {
	d := r.take(time.Now(), n)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take books n bytes and returns the time to wait before sending them.
func (r *rateLimit) take(now time.Time, n int) time.Duration {
	const burst = 100 * time.Millisecond
	r.mu.Lock()
	defer r.mu.Unlock()
	if floor := now.Add(-burst); r.next.Before(floor) {
		r.next = floor
	}
	d := r.next.Sub(now)
	r.next = r.next.Add(time.Duration(int64(n) * int64(time.Second) / r.perSecond))
	return d
}

// noiseLimit lets ten log messages pass at once, and one a second after that.
type noiseLimit struct {
	mu      sync.Mutex
	budget  int
	since   time.Time
	skipped int
}

// allow reports whether a message may be logged, and how many were dropped since the
// last one that was.
func (n *noiseLimit) allow(now time.Time) (skipped int, ok bool) {
	const burst = 10
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.since.IsZero() {
		n.budget, n.since = burst, now
	}
	if more := int(now.Sub(n.since) / time.Second); more > 0 {
		n.budget = min(burst, n.budget+more)
		n.since = n.since.Add(time.Duration(more) * time.Second)
	}
	if n.budget == 0 {
		n.skipped++
		return 0, false
	}
	n.budget--
	skipped, n.skipped = n.skipped, 0
	return skipped, true
}
