package shard

import (
	"container/heap"
	"time"
)

// agePeriod is how often calls are looked at that the passing of time may make ready. It
// is the period of Redis.
const agePeriod = 100 * time.Millisecond

// run answers the calls whose time is over and starts passes for the aging ones, until
// end is called.
func (w *waits) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	aged := w.watch.now()
	for {
		var tick <-chan time.Time
		next := w.expire()
		if w.ages() {
			left := agePeriod - time.Duration(w.watch.now()-aged)
			if left <= 0 {
				w.age()
				aged, left = w.watch.now(), agePeriod
			}
			if next < 0 || left < next {
				next = left
			}
		}
		if next >= 0 {
			timer.Reset(next)
			tick = timer.C
		}
		select {
		case <-tick:
		case <-w.wake:
		case <-w.quit:
			return
		}
	}
}

// ages reports whether the passing of time may make a call ready.
func (w *waits) ages() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.registry.aging) > 0
}

// age starts a pass over every queue in which an aging waiter stands. The others in the
// queue are looked at as well, so that the order of arrival holds.
func (w *waits) age() {
	w.mu.Lock()
	defer w.mu.Unlock()
	queues := make(map[*keyQueue]struct{})
	for wt := range w.registry.aging {
		for _, q := range wt.queues {
			queues[q] = struct{}{}
		}
	}
	for q := range queues {
		w.passLocked(q)
	}
}

// expire answers the calls whose time is over. It returns how long until the next one's
// time is over, or a negative duration when no call has a deadline.
func (w *waits) expire() time.Duration {
	var out finished
	defer func() { out.give() }()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.watch.now()
	for len(w.registry.timers) > 0 {
		wt := w.registry.timers[0]
		if wt.deadlineNS > now {
			return time.Duration(wt.deadlineNS - now)
		}
		heap.Pop(&w.registry.timers)
		// A call that no look has found to be unready gets its look first, and a proposed
		// command gets its result first: either may find something.
		if !wt.looked || !w.giveUpLocked(&out, wt, wt.null(), nil) {
			wt.expired = true
		}
	}
	return -1
}
