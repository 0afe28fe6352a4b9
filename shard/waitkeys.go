package shard

import (
	"container/heap"
	"container/list"

	"millrace/call"
)

// registry holds the waiters: by call, per key in order of arrival, and by the end of
// their time. It decides nothing about them. waits guards it with its mutex.
type registry struct {
	byCall map[*call.Call]*waiter
	queues map[string]*keyQueue
	aging  map[*waiter]struct{} // waiters that the passing of time may make ready
	timers timerHeap
}

func newRegistry() registry {
	return registry{
		byCall: make(map[*call.Call]*waiter),
		queues: make(map[string]*keyQueue),
		aging:  make(map[*waiter]struct{}),
	}
}

// keyQueue is the waiters of one key, in order of arrival.
type keyQueue struct {
	name    string
	waiters *list.List // of *waiter
	touches uint64     // how many times records have touched the key since it has waiters

	passing   bool // a pass over the waiters is under way
	passAgain bool // another pass has to follow it

	// The commands of ready waiters are proposed in bundles. The commands of a bundle
	// stand next to each other in the log, and a key has one bundle under way at a time:
	// if a write came between two commands, the second could find the entry that the
	// first had just missed, although the first waiter came before.
	window   int  // size of the next bundle
	underWay int  // commands of the present bundle that have not come back
	missed   bool // one of them found nothing
	overflow bool // a waiter that the bundle had no room for may be ready
	held     bool // a waiter behind an unsettled one may be ready
}

// add puts wt at the end of the queue of each of its keys. A key that is named twice in
// a row counts once.
func (r *registry) add(wt *waiter, names [][]byte) {
	r.byCall[wt.call] = wt
	for _, name := range names {
		q := r.queues[string(name)]
		if q == nil {
			q = &keyQueue{name: string(name), waiters: list.New(), window: minWindow}
			r.queues[q.name] = q
		}
		if n := q.waiters.Back(); n != nil && n.Value == wt {
			continue
		}
		wt.queues = append(wt.queues, q)
		wt.places = append(wt.places, q.waiters.PushBack(wt))
	}
}

// addAging notes that the passing of time may make wt ready. It reports whether wt is the
// first such waiter.
func (r *registry) addAging(wt *waiter) bool {
	r.aging[wt] = struct{}{}
	return len(r.aging) == 1
}

// addTimer notes when the time of wt ends. It reports whether that is the first to end.
func (r *registry) addTimer(wt *waiter, deadlineNS int64) bool {
	wt.deadlineNS = deadlineNS
	heap.Push(&r.timers, wt)
	return wt.timer == 0
}

// remove takes wt out of everything. A queue goes with its last waiter.
func (r *registry) remove(wt *waiter) {
	delete(r.byCall, wt.call)
	delete(r.aging, wt)
	for i, q := range wt.queues {
		q.waiters.Remove(wt.places[i])
		if q.waiters.Len() == 0 && r.queues[q.name] == q {
			delete(r.queues, q.name)
		}
	}
	if wt.timer >= 0 {
		heap.Remove(&r.timers, wt.timer)
	}
}

// elder returns a queue in which the entry that wt has found may belong to another: an
// attempt is under way there, or a writing waiter stands before wt. It returns nil when
// wt is first everywhere.
func (wt *waiter) elder() *keyQueue {
	for i, q := range wt.queues {
		if q.underWay > 0 {
			return q
		}
		for e := wt.places[i].Prev(); e != nil; e = e.Prev() {
			if o := e.Value.(*waiter); o.writes && (o.state == waiterIdle || o.unsettled()) {
				return q
			}
		}
	}
	return nil
}

// toLookAt returns the waiters that a pass looks at, in order. Writing waiters are left
// out while a bundle is under way, or behind an unsettled one. Then toLookAt notes in the
// queue that they may be ready.
func (q *keyQueue) toLookAt() (list []*waiter) {
	unsettled := false
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		wt := e.Value.(*waiter)
		switch {
		case wt.writes && wt.unsettled():
			unsettled = true
		case wt.state != waiterIdle:
		case wt.writes && unsettled:
			q.held = true
		case wt.writes && q.underWay > 0:
			q.overflow = true
		default:
			list = append(list, wt)
		}
	}
	return list
}

// timerHeap is the waiters with a deadline; the first to end is in front.
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
