package shard

import (
	"container/heap"
	"container/list"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

const (
	// minWindow and maxWindow bound how many commands of blocked calls are proposed for a
	// key at once. The window doubles when all found something and shrinks when one did
	// not: a thousand calls that wait for one entry do not all go to the log for it.
	minWindow, maxWindow = 4, 32
	// maxBlockMS is "for ever" for timers: longer than any process lives.
	maxBlockMS = 1 << 42
)

// A waiter's life. Only waits changes it, under its mutex.
//
//	new ──read index──► idle ──ready──► serving ──found──► done
//	 │                  │  ▲               │
//	 │                  │  └───nothing─────┤
//	 │                  │  └──arriving     │
//	 └──────────────────┴──────────────────┴─canceled, timed out, term ended──► done
//
// At its first look a waiter may be found to leave something although it finds nothing:
// then it is arriving, and serving, while the command that does it goes through the log.
// Before it is idle nobody is served who came later: it may be ready.
type waiterState uint8

const (
	waitNew waiterState = iota
	waitIdle
	waitServing
	waitDone
)

// waiter is a Block or Wait call that has not been answered.
type waiter struct {
	call   *call.Call
	seq    uint64 // of arrival
	term   uint64
	writes bool // served by a proposal, not by a read
	keys   []*waitKey
	places []*list.Element // in the lists of keys

	state      waiterState
	serving    *serving // while state is waitServing
	arrived    bool     // it has had its Blocker.Arrival
	looked     bool     // it was found to be not ready since its read index
	expired    bool     // its time is over, but it may not be answered yet
	canceled   bool     // likewise
	deadlineNS int64
	timer      int // place in the heap; -1 when not there
}

// serving is a blocked call's command on its way through the log.
type serving struct {
	waits   *waits
	waiter  *waiter
	call    *call.Call
	arrival bool     // it is what Blocker.Arrival said: it finds nothing, and counts nowhere
	key     *waitKey // in whose window it counts
	touches []uint64 // of the waiter's keys when it was proposed
}

// unsettled reports whether it is not known yet whether the waiter is ready.
func (wt *waiter) unsettled() bool {
	return wt.state == waitNew || wt.state == waitServing && wt.serving != nil && wt.serving.arrival
}

func (s *serving) done(v resp.Value, err error) { s.waits.served(s, v, err) }

// waitKey is a key that calls wait on.
type waitKey struct {
	name    string
	waiters *list.List // of *waiter, in order of arrival
	touches uint64     // how often it was touched

	busy  bool // a pass over its waiters is under way
	again bool // and another has to follow

	// Commands are proposed in bundles, next to each other in the log and one bundle at a
	// time: were a write to come between two of them, the second could find what the first
	// had just missed.
	window  int  // size of the next bundle
	serving int  // commands of the present one that have not come back
	missed  bool // one of them found nothing
	full    bool // something may be ready for others
	held    bool // something may be ready for others than the unsettled before them
}

// waits keeps blocked calls, and serves them in order of arrival when their keys are
// touched. A call is registered first, then a read index is obtained for it, then it is
// looked at: so no write falls between its first look and its registration.
//
// The mutex is the one owner of every waiter's state. What takes long happens outside:
// looks in the pool, proposals in the proposer, and answers after the mutex is released.
type waits struct {
	cfg      *Config
	blocker  Blocker // nil: the machine has no blocking commands
	watch    stopwatch
	reads    *reads
	proposer *proposer
	counters *counters
	hint     func() *call.NotLeader

	count atomic.Int64 // of waiters

	mu      sync.Mutex
	term    uint64 // guarded by mu, as all below; 0 while we do not lead
	stopped error
	seq     uint64
	byCall  map[*call.Call]*waiter
	aging   map[*waiter]struct{} // those that time may make ready
	keys    map[string]*waitKey
	timers  timerHeap

	wake chan struct{} // capacity 1: the first timer changed
	quit chan struct{}
	done chan struct{}
}

func newWaits(cfg *Config) *waits {
	w := &waits{
		cfg:    cfg,
		byCall: make(map[*call.Call]*waiter),
		aging:  make(map[*waiter]struct{}),
		keys:   make(map[string]*waitKey),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	w.blocker, _ = cfg.Machine.(Blocker)
	return w
}

// finished is answers to give once the mutex is released.
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
	wt := &waiter{call: c, term: c.Term, timer: -1}
	wt.writes = c.Kind == call.Block && w.blocker.WritesWhenServed(c.Cmds[0])
	return w.register(wt, w.blocker.BlockKeys(c.Cmds[0]), w.watch.now())
}

func (w *waits) register(wt *waiter, names [][]byte, now int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped != nil:
		return w.stopped
	case wt.term == 0 || wt.term != w.term:
		return w.hint()
	case len(w.byCall) >= w.cfg.Limits.Waiters:
		w.counters.overloaded.Add(1)
		return call.ErrOverloaded
	}
	c := wt.call
	// Counted before the look is asked for: the applier skips everything while there is
	// nobody, and whatever it skipped is visible to that look.
	w.count.Add(1)
	patience := now + int64(c.TimeoutMS)*int64(time.Millisecond)
	if err := w.reads.lookSoon(wt.term, patience, func(err error) { w.confirmed(wt, err) }); err != nil {
		w.count.Add(-1)
		return err
	}
	w.seq++
	wt.seq = w.seq
	w.byCall[c] = wt
	for _, name := range names {
		k := w.keys[string(name)]
		if k == nil {
			k = &waitKey{name: string(name), waiters: list.New(), window: minWindow}
			w.keys[k.name] = k
		}
		if n := k.waiters.Back(); n != nil && n.Value == wt {
			continue // the same key twice
		}
		wt.keys = append(wt.keys, k)
		wt.places = append(wt.places, k.waiters.PushBack(wt))
	}
	if w.blocker.Ages(c.Cmds[0]) {
		w.aging[wt] = struct{}{}
		if len(w.aging) == 1 {
			w.poke()
		}
	}
	if c.BlockMS > 0 {
		wt.deadlineNS = now + int64(min(c.BlockMS, maxBlockMS))*int64(time.Millisecond)
		heap.Push(&w.timers, wt)
		if wt.timer == 0 {
			w.poke()
		}
	}
	return nil
}

// confirmed hears that the waiter's read index was reached, or failed.
func (w *waits) confirmed(wt *waiter, err error) {
	var out finished
	w.mu.Lock()
	if wt.state == waitNew {
		if err != nil {
			w.finishLocked(&out, wt, nil, err)
		} else {
			wt.state = waitIdle
			w.reads.pool.run(func() { w.firstLook(wt) })
			w.settledLocked(wt)
		}
	}
	w.mu.Unlock()
	out.give()
}

// verdict is what a look at a waiter found.
type verdict struct {
	looked  bool
	ready   bool
	reply   []byte   // for one that is served by a read
	arrival [][]byte // to be run for one that is not ready at its first look
	err     error
}

// look looks at waiters on one view, so that those who come first in list are not found
// less ready than those behind only for having been looked at earlier. Once enough are
// found whose commands can be proposed, more of those are not looked at.
//
// first says that the waiters were not looked at before. A read is run then whatever it
// answers; later only when the machine says that it is ready: what a call is refused for
// when it is made need not end it while it waits.
func (w *waits) look(list []*waiter, enough int, first bool) []verdict {
	out := make([]verdict, len(list))
	w.reads.view(func(v pebblekv.Reader, nowMS int64) {
		for i, wt := range list {
			argv := wt.call.Cmds[0]
			if wt.writes && enough == 0 {
				continue
			}
			out[i].looked = true
			if wt.call.Kind == call.Block && !wt.writes {
				var val resp.Value
				var err error
				if first {
					val, err = w.reads.read(v, nowMS, argv)
				} else {
					ready, failed := w.reads.blockedReady(w.blocker, v, nowMS, argv)
					if out[i].err = failed; failed != nil || !ready {
						continue
					}
					val, err = w.reads.readWaited(w.blocker, v, nowMS, argv)
				}
				out[i].err = err
				if out[i].ready = err == nil && !val.IsNull(); out[i].ready {
					out[i].reply = resp.AppendValue(nil, val, int(wt.call.Proto))
				}
				continue
			}
			out[i].ready, out[i].err = w.reads.blockedReady(w.blocker, v, nowMS, argv)
			switch {
			case !wt.writes:
			case out[i].ready:
				enough--
			case first && out[i].err == nil:
				out[i].arrival, out[i].err = w.reads.blockedArrival(w.blocker, v, nowMS, argv)
			}
		}
	})
	return out
}

// firstLook looks at one waiter alone: a pass over all that wait with it, for each that
// comes, would be too much.
func (w *waits) firstLook(wt *waiter) {
	v := w.look([]*waiter{wt}, 1, true)[0]
	var out finished
	w.mu.Lock()
	if wt.state == waitIdle && v.arrival != nil && !wt.arrived {
		w.arriveLocked(&out, wt, v.arrival)
	} else if wt.state == waitIdle && w.judgeLocked(&out, wt, v) {
		if k := w.elderLocked(wt); k != nil {
			w.passLocked(k) // what is there is for those who came before
		} else {
			var k *waitKey
			if len(wt.keys) > 0 {
				k = wt.keys[0]
			}
			w.serveLocked(&out, k, []*waiter{wt})
		}
	}
	w.mu.Unlock()
	out.give()
}

// elderLocked returns a key at which somebody waits before wt, or is being served; or
// nil.
func (w *waits) elderLocked(wt *waiter) *waitKey {
	for i, k := range wt.keys {
		if k.serving > 0 {
			return k
		}
		for e := wt.places[i].Prev(); e != nil; e = e.Prev() {
			if o := e.Value.(*waiter); o.writes && (o.state == waitIdle || o.unsettled()) {
				return k
			}
		}
	}
	return nil
}

// judgeLocked acts on a verdict about an idle waiter. It reports whether its command is
// to be proposed.
func (w *waits) judgeLocked(out *finished, wt *waiter, v verdict) (propose bool) {
	switch {
	case v.err != nil:
		w.finishLocked(out, wt, nil, v.err)
	case !v.ready:
		wt.looked = true
		if wt.expired {
			w.finishLocked(out, wt, w.null(wt), nil)
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

// arriveLocked proposes what an idle waiter leaves although it has found nothing.
func (w *waits) arriveLocked(out *finished, wt *waiter, argv [][]byte) {
	wt.arrived = true
	s := &serving{waits: w, waiter: wt, call: &call.Call{Cmds: [][][]byte{argv}}, arrival: true}
	if err := w.proposer.serve(w.term, []*serving{s}); err != nil {
		w.finishLocked(out, wt, nil, err)
		return
	}
	wt.state, wt.serving = waitServing, s
}

// settledLocked lets those be looked at who came after wt, which is not unsettled any more.
func (w *waits) settledLocked(wt *waiter) {
	for _, k := range wt.keys {
		if k.held {
			k.held = false
			w.passLocked(k)
		}
	}
}

// serveLocked proposes the commands of idle waiters as k's next bundle; k is nil for a
// call without keys.
func (w *waits) serveLocked(out *finished, k *waitKey, list []*waiter) {
	bundle := make([]*serving, len(list))
	for i, wt := range list {
		s := &serving{waits: w, waiter: wt, call: wt.call, key: k}
		for _, k := range wt.keys {
			s.touches = append(s.touches, k.touches)
		}
		bundle[i] = s
	}
	// All of them wait in the same term: the present one.
	if err := w.proposer.serve(w.term, bundle); err != nil {
		for _, wt := range list {
			w.finishLocked(out, wt, nil, err)
		}
		return
	}
	for i, wt := range list {
		wt.state, wt.serving = waitServing, bundle[i]
	}
	if k != nil {
		k.serving, k.missed = len(bundle), false
	}
}

// served hears how a proposed command fared.
func (w *waits) served(s *serving, v resp.Value, err error) {
	var out finished
	w.mu.Lock()
	wt := s.waiter
	found := err == nil && !v.IsNull() && !s.arrival
	wt.serving = nil
	switch {
	case err != nil:
		if s.arrival && errors.Is(err, call.ErrInDoubt) {
			err = w.hint() // whether it has left its trace or not, it has taken nothing
		}
		w.finishLocked(&out, wt, nil, err)
	case found:
		w.finishLocked(&out, wt, resp.AppendValue(nil, v, int(wt.call.Proto)), nil)
	case wt.canceled:
		w.finishLocked(&out, wt, nil, call.ErrCanceled)
	case wt.expired:
		w.finishLocked(&out, wt, w.null(wt), nil)
	case w.stopped != nil:
		w.finishLocked(&out, wt, nil, w.stopped)
	case wt.term != w.term:
		w.finishLocked(&out, wt, nil, w.hint())
	case s.arrival: // what came meanwhile is only seen by a look
		wt.state = waitIdle
		w.reads.pool.run(func() { w.firstLook(wt) })
		w.settledLocked(wt)
	default: // back to its old place, which it never left
		wt.state, wt.looked = waitIdle, true
		for i, k := range wt.keys {
			if k.touches != s.touches[i] {
				w.passLocked(k)
			}
		}
	}
	w.cameBackLocked(s.key, found)
	w.mu.Unlock()
	out.give()
}

// cameBackLocked notes that a command of k's bundle is not under way any more. After
// the last it is the turn of those who wait.
func (w *waits) cameBackLocked(k *waitKey, found bool) {
	if k == nil {
		return
	}
	k.serving--
	k.missed = k.missed || !found
	if k.serving > 0 {
		return
	}
	if k.missed {
		k.window = minWindow
	} else {
		k.window = min(2*k.window, maxWindow)
	}
	if k.full {
		k.full = false
		w.passLocked(k)
	}
}

// applied hears which keys the records just applied have touched, or that all were.
func (w *waits) applied(keys [][]byte, all bool) {
	if w.count.Load() == 0 || len(keys) == 0 && !all {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if all {
		for _, k := range w.keys {
			k.touches++
			w.passLocked(k)
		}
		return
	}
	for _, name := range keys {
		if k := w.keys[string(name)]; k != nil {
			k.touches++
			w.passLocked(k)
		}
	}
}

// passLocked has all waiters of k looked at, in order.
func (w *waits) passLocked(k *waitKey) {
	if k.busy {
		k.again = true
		return
	}
	k.again = false
	var list []*waiter
	unsettled := false
	for e := k.waiters.Front(); e != nil; e = e.Next() {
		wt := e.Value.(*waiter)
		switch {
		case wt.writes && wt.unsettled():
			unsettled = true
		case wt.state != waitIdle:
		case wt.writes && unsettled:
			k.held = true
		case wt.writes && k.serving > 0:
			k.full = true
		default:
			list = append(list, wt)
		}
	}
	if len(list) > 0 {
		k.busy = true
		w.reads.pool.run(func() { w.pass(k, list) })
	}
}

// pass looks at the waiters of k.
func (w *waits) pass(k *waitKey, list []*waiter) {
	verdicts := w.look(list, maxWindow, false)
	var out finished
	w.mu.Lock()
	var bundle []*waiter
	unsettled := false
	for i, wt := range list {
		switch {
		case wt.writes && wt.unsettled(): // its first look was just before
			unsettled = true
		case wt.writes && unsettled:
			k.held = true
		case !verdicts[i].looked:
			k.full = true
		case wt.state != waitIdle || !w.judgeLocked(&out, wt, verdicts[i]):
		case k.serving == 0 && len(bundle) < k.window:
			bundle = append(bundle, wt)
		default:
			k.full = true
		}
	}
	if len(bundle) > 0 {
		w.serveLocked(&out, k, bundle)
	} else if k.full && k.serving == 0 {
		// Those that were ready have gone meanwhile, and nobody is to come back.
		k.full, k.again = false, true
	}
	k.busy = false
	if k.again {
		w.passLocked(k)
	}
	w.mu.Unlock()
	out.give()
}

// cancel withdraws a call.
func (w *waits) cancel(c *call.Call) {
	var out finished
	w.mu.Lock()
	if wt := w.byCall[c]; wt != nil && !w.giveUpLocked(&out, wt, nil, call.ErrCanceled) {
		wt.canceled = true
	}
	w.mu.Unlock()
	out.give()
}

// giveUpLocked answers a waiter unless its command is on its way through the log: then
// it reports false, and the command's fate decides.
func (w *waits) giveUpLocked(out *finished, wt *waiter, reply []byte, err error) bool {
	if s := wt.serving; s != nil {
		if !w.proposer.withdraw(s) {
			return false
		}
		wt.serving = nil
		w.cameBackLocked(s.key, false)
	}
	w.finishLocked(out, wt, reply, err)
	return true
}

// finishLocked ends a waiter's life.
func (w *waits) finishLocked(out *finished, wt *waiter, reply []byte, err error) {
	wt.state = waitDone
	delete(w.byCall, wt.call)
	delete(w.aging, wt)
	for i, k := range wt.keys {
		k.waiters.Remove(wt.places[i])
		if k.waiters.Len() == 0 && w.keys[k.name] == k {
			delete(w.keys, k.name)
		}
	}
	if wt.timer >= 0 {
		heap.Remove(&w.timers, wt.timer)
	}
	w.settledLocked(wt)
	w.count.Add(-1)
	*out = append(*out, struct {
		call *call.Call
		res  call.Result
	}{wt.call, call.Result{Reply: reply, Err: err}})
}

func (w *waits) null(wt *waiter) []byte {
	return resp.AppendValue(nil, resp.NullArray(), int(wt.call.Proto))
}

// open starts a term.
func (w *waits) open(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term = term
}

// close ends the term: all that wait are refused, save those whose command is on its
// way through the log.
func (w *waits) close(refusal error) {
	var out finished
	w.mu.Lock()
	w.term = 0
	for _, wt := range w.byCall {
		if wt.state != waitServing {
			w.finishLocked(&out, wt, nil, refusal)
		}
	}
	w.mu.Unlock()
	out.give()
}

// stop refuses everything from now on.
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
