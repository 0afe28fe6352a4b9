package shard

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
	"millrace/resp"
)

const (
	// minWindow and maxWindow bound the commands of blocked calls that are proposed for a
	// key at once. The window doubles when all of a bundle found something, and falls back
	// to minWindow when one did not: if a thousand calls wait for one entry, four go to the
	// log for it and not a thousand.
	minWindow, maxWindow = 4, 32
	// maxBlockMS is "for ever" for timers: longer than any process lives.
	maxBlockMS = 1 << 42
)

// waits serves blocked calls, in order of arrival, after records have touched their keys.
// Say two consumers of a group, C1 and C2, block on the stream s, and an entry is added:
//
//	     C1                        C2                       queue of s
//	1    arrives: new                                       C1
//	2    read index: idle          arrives: new             C1 C2
//	3    first look: nothing       read index: idle
//	4                              first look: nothing
//	5                 the entry is applied and touches s:
//	                  a pass looks at C1 and C2 on one view
//	6    ready: proposed           ready: proposed          one bundle of two commands
//	7    applied: takes the entry
//	8    done                      applied: finds nothing   C2
//	9                              idle, in its old place
//	10                the next entry touches s: a pass looks at C2
//
// A call is registered (1) before its read index is obtained (2) and before it is looked
// at (3). So a write is either visible to that look, or is applied later and touches the
// queue in which the call already stands: none falls in between.
//
// The mutex owns the registry and the state of every waiter. Everything slow happens
// outside: looks run in the viewer's pool, commands go through the proposer, and answers
// are given after the mutex is released.
type waits struct {
	*shared
	blocker Blocker // nil: the machine has no blocking commands
	views   *viewer
	reads   *reads
	writes  *proposer

	count atomic.Int64 // waiters, and calls that are being registered

	mu       sync.Mutex
	term     uint64 // guarded by mu, as all below; 0 while this replica does not lead
	stopped  error  // why no more calls are taken; nil while they are
	registry registry

	wake signal // a timer or an aging waiter is the new first
	quit chan struct{}
	done chan struct{}
}

func newWaits(sh *shared, v *viewer, r *reads, p *proposer) *waits {
	return &waits{
		shared: sh, blocker: v.blocker, views: v, reads: r, writes: p,
		registry: newRegistry(),
		wake:     newSignal(), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// finished is the answers to give once the mutex is released.
type finished []struct {
	call *call.Call
	res  call.Result
}

func (f finished) give() {
	for _, a := range f {
		a.call.Done(a.res)
	}
}

// accept takes a Block or Wait call, or returns why it is refused.
func (w *waits) accept(c *call.Call) error {
	if w.blocker == nil || len(c.Cmds) != 1 || len(c.Cmds[0]) == 0 {
		return errEmptyCall
	}
	wt := &waiter{call: c, blocked: w.blocker.Block(c.Cmds[0]), timer: -1}
	wt.writes = c.Kind == call.Block && wt.blocked.Writes()
	return w.register(wt, w.watch.now())
}

func (w *waits) register(wt *waiter, now int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := wt.call
	switch {
	case w.stopped != nil:
		return w.stopped
	case c.Term == 0 || c.Term != w.term:
		return w.hint()
	case len(w.registry.byCall) >= w.cfg.Limits.Waiters:
		w.counters.overloaded.Add(1)
		return call.ErrOverloaded
	}
	// The call is counted before its look is asked for: the applier skips touched keys
	// while the count is zero, and every write it skipped is visible to that look.
	w.count.Add(1)
	patience := now + int64(c.TimeoutMS)*int64(time.Millisecond)
	if err := w.reads.lookSoon(c.Term, patience, func(err error) { w.confirmed(wt, err) }); err != nil {
		w.count.Add(-1)
		return err
	}
	w.registry.add(wt, wt.blocked.Keys())
	if wt.blocked.Ages() && w.registry.addAging(wt) {
		w.wake.send()
	}
	if c.BlockMS > 0 && w.registry.addTimer(wt, now+int64(min(c.BlockMS, maxBlockMS))*int64(time.Millisecond)) {
		w.wake.send()
	}
	return nil
}

// confirmed hears that the waiter's read index was reached, or that it failed.
func (w *waits) confirmed(wt *waiter, err error) {
	var out finished
	w.mu.Lock()
	if wt.state == waiterNew {
		if err != nil {
			w.finishLocked(&out, wt, nil, err)
		} else {
			w.idleLocked(wt)
		}
	}
	w.mu.Unlock()
	out.give()
}

// idleLocked ends the time in which wt was unsettled, and starts its first look.
func (w *waits) idleLocked(wt *waiter) {
	wt.state = waiterIdle
	w.views.run(func() { w.firstLook(wt) })
	w.settledLocked(wt)
}

// settledLocked starts the passes that had to wait because wt was unsettled.
func (w *waits) settledLocked(wt *waiter) {
	for _, q := range wt.queues {
		if q.held {
			q.held = false
			w.passLocked(q)
		}
	}
}

// firstLook looks at one waiter alone. A pass over its whole queue for each call that
// arrives would make the cost of n calls grow with n².
func (w *waits) firstLook(wt *waiter) {
	v := w.look([]*waiter{wt}, 1, true)[0]
	var out finished
	w.mu.Lock()
	if wt.state == waiterIdle && v.arrival != nil && !wt.arrived {
		w.arriveLocked(&out, wt, v.arrival)
	} else if wt.state == waiterIdle && w.judgeLocked(&out, wt, v) {
		if q := wt.elder(); q != nil {
			w.passLocked(q) // it belongs to a call that came before
		} else {
			var q *keyQueue
			if len(wt.queues) > 0 {
				q = wt.queues[0]
			}
			w.proposeLocked(&out, q, []*waiter{wt})
		}
	}
	w.mu.Unlock()
	out.give()
}

// judgeLocked acts on a verdict about an idle waiter. It reports whether the waiter's
// command is to be proposed; otherwise the waiter is answered or waits on.
func (w *waits) judgeLocked(out *finished, wt *waiter, v verdict) (propose bool) {
	switch {
	case v.err != nil:
		w.finishLocked(out, wt, nil, v.err)
	case !v.ready:
		wt.looked = true
		if wt.expired {
			w.finishLocked(out, wt, wt.null(), nil)
		}
	case wt.call.Kind == call.Wait:
		w.finishLocked(out, wt, resp.AppendValue(nil, resp.OK, int(wt.call.Proto)), nil)
	case !wt.writes:
		w.finishLocked(out, wt, v.reply, nil)
	default:
		return true
	}
	return false
}

// arriveLocked proposes the command that Blocked.Arrival returned for an idle waiter.
func (w *waits) arriveLocked(out *finished, wt *waiter, argv [][]byte) {
	wt.arrived = true
	a := &attempt{waits: w, waiter: wt, call: &call.Call{Cmds: [][][]byte{argv}}, arrival: true}
	if err := w.writes.serve(w.term, []*attempt{a}); err != nil {
		w.finishLocked(out, wt, nil, err)
		return
	}
	wt.state, wt.attempt = waiterProposed, a
}

// proposeLocked proposes the commands of idle waiters as the next bundle of q. q is nil
// for a call without keys.
func (w *waits) proposeLocked(out *finished, q *keyQueue, list []*waiter) {
	bundle := make([]*attempt, len(list))
	for i, wt := range list {
		a := &attempt{waits: w, waiter: wt, call: wt.call, queue: q}
		for _, q := range wt.queues {
			a.touches = append(a.touches, q.touches)
		}
		bundle[i] = a
	}
	// All of them wait in the same term: the present one.
	if err := w.writes.serve(w.term, bundle); err != nil {
		for _, wt := range list {
			w.finishLocked(out, wt, nil, err)
		}
		return
	}
	for i, wt := range list {
		wt.state, wt.attempt = waiterProposed, bundle[i]
	}
	if q != nil {
		q.underWay, q.missed = len(bundle), false
	}
}

// attempted takes the result of a proposed command. A waiter that was not served goes back
// to its old place, which it never left, unless there is a reason to answer it now.
func (w *waits) attempted(a *attempt, v resp.Value, err error) {
	var out finished
	w.mu.Lock()
	wt := a.waiter
	found := err == nil && !v.IsNull() && !a.arrival
	wt.attempt = nil
	switch {
	case err != nil:
		if a.arrival && errors.Is(err, call.ErrInDoubt) {
			err = w.hint() // applied or not, an arrival has taken nothing from the stream
		}
		w.finishLocked(&out, wt, nil, err)
	case found:
		w.finishLocked(&out, wt, resp.AppendValue(nil, v, int(wt.call.Proto)), nil)
	case wt.canceled:
		w.finishLocked(&out, wt, nil, call.ErrCanceled)
	case wt.expired:
		w.finishLocked(&out, wt, wt.null(), nil)
	case w.stopped != nil:
		w.finishLocked(&out, wt, nil, w.stopped)
	case wt.call.Term != w.term:
		w.finishLocked(&out, wt, nil, w.hint())
	case a.arrival: // writes that came meanwhile did not look at it: it was unsettled
		w.idleLocked(wt)
	default:
		wt.state, wt.looked = waiterIdle, true
		for i, q := range wt.queues {
			if q.touches != a.touches[i] {
				w.passLocked(q)
			}
		}
	}
	w.returnedLocked(a.queue, found)
	w.mu.Unlock()
	out.give()
}

// returnedLocked notes that a command of q's bundle is not under way any more. After the
// last one it sets the window for the next bundle, and starts a pass if waiters are left
// that may be ready.
func (w *waits) returnedLocked(q *keyQueue, found bool) {
	if q == nil {
		return
	}
	q.underWay--
	q.missed = q.missed || !found
	if q.underWay > 0 {
		return
	}
	if q.missed {
		q.window = minWindow
	} else {
		q.window = min(2*q.window, maxWindow)
	}
	if q.overflow {
		q.overflow = false
		w.passLocked(q)
	}
}

// touched hears which keys the records just applied have touched; all says that every key
// was. The applier calls it after each batch.
func (w *waits) touched(keys [][]byte, all bool) {
	if w.count.Load() == 0 || len(keys) == 0 && !all {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if all {
		for _, q := range w.registry.queues {
			q.touches++
			w.passLocked(q)
		}
		return
	}
	for _, name := range keys {
		if q := w.registry.queues[string(name)]; q != nil {
			q.touches++
			w.passLocked(q)
		}
	}
}

// passLocked starts a pass over q. While one is under way it only asks for another one
// after that.
func (w *waits) passLocked(q *keyQueue) {
	if q.passing {
		q.passAgain = true
		return
	}
	q.passAgain = false
	if list := q.toLookAt(); len(list) > 0 {
		q.passing = true
		w.views.run(func() { w.pass(q, list) })
	}
}

// pass looks at the waiters of q in list. It answers those that a read serves, and
// proposes the commands of the first ready ones as a bundle. A waiter may have changed its
// state while it was looked at, so each verdict is checked against the state now.
func (w *waits) pass(q *keyQueue, list []*waiter) {
	verdicts := w.look(list, maxWindow, false)
	var out finished
	w.mu.Lock()
	var bundle []*waiter
	unsettled := false
	for i, wt := range list {
		switch {
		case wt.writes && wt.unsettled(): // its first look has just found an arrival
			unsettled = true
		case wt.writes && unsettled:
			q.held = true
		case !verdicts[i].looked:
			q.overflow = true
		case wt.state != waiterIdle || !w.judgeLocked(&out, wt, verdicts[i]):
		case q.underWay == 0 && len(bundle) < q.window:
			bundle = append(bundle, wt)
		default:
			q.overflow = true
		}
	}
	if len(bundle) > 0 {
		w.proposeLocked(&out, q, bundle)
	} else if q.overflow && q.underWay == 0 {
		// The waiters that were ready have gone meanwhile. No command is under way whose
		// return would start the next pass.
		q.overflow, q.passAgain = false, true
	}
	q.passing = false
	if q.passAgain {
		w.passLocked(q)
	}
	w.mu.Unlock()
	out.give()
}

// cancel withdraws a call, if it is kept here.
func (w *waits) cancel(c *call.Call) {
	var out finished
	w.mu.Lock()
	if wt := w.registry.byCall[c]; wt != nil && !w.giveUpLocked(&out, wt, nil, call.ErrCanceled) {
		wt.canceled = true
	}
	w.mu.Unlock()
	out.give()
}

// giveUpLocked answers a waiter, unless its command has been proposed: then it reports
// false, because the command may yet take an entry, which the waiter must get.
func (w *waits) giveUpLocked(out *finished, wt *waiter, reply []byte, err error) bool {
	if a := wt.attempt; a != nil {
		if !w.writes.withdraw(a) {
			return false
		}
		wt.attempt = nil
		w.returnedLocked(a.queue, false)
	}
	w.finishLocked(out, wt, reply, err)
	return true
}

// finishLocked ends a waiter's life. Its answer is given with the others in out.
func (w *waits) finishLocked(out *finished, wt *waiter, reply []byte, err error) {
	wt.state = waiterDone
	w.registry.remove(wt)
	w.settledLocked(wt)
	w.count.Add(-1)
	*out = append(*out, struct {
		call *call.Call
		res  call.Result
	}{wt.call, call.Result{Reply: reply, Err: err}})
}

// open starts a term.
func (w *waits) open(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term = term
}

// close ends the term. Every waiter is refused, except those with a proposed command: the
// command's fate decides for them.
func (w *waits) close(refusal error) {
	var out finished
	w.mu.Lock()
	w.term = 0
	for _, wt := range w.registry.byCall {
		if wt.state != waiterProposed {
			w.finishLocked(&out, wt, nil, refusal)
		}
	}
	w.mu.Unlock()
	out.give()
}

// stop refuses every call from now on.
func (w *waits) stop(refusal error) {
	w.mu.Lock()
	if w.stopped == nil {
		w.stopped = refusal
	}
	w.mu.Unlock()
	w.close(refusal)
}

// end lets the goroutine finish, and waits for it.
func (w *waits) end() {
	close(w.quit)
	<-w.done
}
