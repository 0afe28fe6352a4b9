package shard

import (
	"container/heap"
	"time"
)

func (w *waits) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run answers the calls whose time is over, until end is called.
func (w *waits) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var tick <-chan time.Time
		if next := w.expire(); next >= 0 {
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

// expire answers the calls whose time is over, and returns how long until the next's
// is; below zero when there is none.
func (w *waits) expire() time.Duration {
	var out finished
	defer func() { out.give() }()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.watch.now()
	for len(w.timers) > 0 {
		wt := w.timers[0]
		if wt.deadlineNS > now {
			return time.Duration(wt.deadlineNS - now)
		}
		heap.Pop(&w.timers)
		// Until a look has found nothing, there may be something: then it waits for that, and
		// for its command where the first look has found something.
		if !wt.looked || !w.giveUpLocked(&out, wt, w.null(wt), nil) {
			wt.expired = true
		}
	}
	return -1
}

// timerHeap is the waiters with a deadline, the first to end in front.
type timerHeap []*waiter

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].deadlineNS < h[j].deadlineNS }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}
func (h *timerHeap) Push(x any) {
	wt := x.(*waiter)
	wt.timer = len(*h)
	*h = append(*h, wt)
}
func (h *timerHeap) Pop() any {
	old := *h
	wt := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	wt.timer = -1
	return wt
}
