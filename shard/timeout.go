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

// agePeriod is how often calls are looked at that time may make ready, as in Redis.
const agePeriod = 100 * time.Millisecond

// run answers the calls whose time is over, and has those looked at that time may have
// made ready, until end is called.
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

// ages reports whether time may make a call ready.
func (w *waits) ages() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.aging) > 0
}

// age has every call looked at that time may have made ready, and those that wait on the
// same keys, in their order.
func (w *waits) age() {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make(map[*waitKey]struct{})
	for wt := range w.aging {
		for _, k := range wt.keys {
			keys[k] = struct{}{}
		}
	}
	for k := range keys {
		w.passLocked(k)
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
