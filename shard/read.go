package shard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

// readChunk is how many reads share one view and one goroutine.
const readChunk = 32

// raftRead is the part of *raft.Raft that a read index needs.
type raftRead interface {
	CommitIndex() uint64
	CurrentTerm() uint64
	State() raft.RaftState
	GetConfiguration() raft.ConfigurationFuture
}

// pendingRead waits for a read index. It is a Read call, or the first look at a blocked
// call.
type pendingRead struct {
	call       *call.Call  // nil for a look
	look       func(error) // called once every write that was answered before is visible, or with an error
	deadlineNS int64
}

func (r *pendingRead) refuse(err error) {
	if r.look != nil {
		r.look(err)
		return
	}
	r.call.Done(call.Result{Err: err})
}

// reads makes reads linearizable. A leader that was paused does not know that it has been
// replaced, so its state alone proves nothing. A read goes through these steps:
//
//  1. The leader has applied a record of its own term, so its commit index covers every
//     write that was ever answered. It takes that index.
//  2. Only then it asks the voters for their terms. If a majority is in no later term, no
//     other leader had committed anything before it asked.
//  3. Once the index is applied here, the read runs on a view.
//
// All reads that wait share one poll. Raft's own VerifyLeader is no substitute: it counts
// replies to heartbeats that were sent before the read began, and replies of non-voters.
type reads struct {
	*shared
	views *viewer

	waiting atomic.Int64 // reads that were accepted and not answered; QueueReads bounds it

	mu      sync.Mutex
	queue   []pendingRead // guarded by mu, as all below
	term    uint64
	raft    raftRead
	ready   bool // the term's first record was applied
	stopped error
	idle    bool

	wake   signal
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

func newReads(sh *shared, v *viewer) *reads {
	r := &reads{shared: sh, views: v, wake: newSignal(), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// accept queues a Read, or returns why it is refused.
func (r *reads) accept(c *call.Call) error {
	if !runnable(c) {
		return errEmptyCall
	}
	deadline := r.watch.now() + int64(c.TimeoutMS)*int64(time.Millisecond)
	return r.enqueue(c.Term, pendingRead{call: c, deadlineNS: deadline}, true)
}

// lookSoon calls look once every write that was answered before is visible, or with an
// error. look must not block. Limits.Waiters bounds these looks, so QueueReads does not
// count them.
func (r *reads) lookSoon(term uint64, deadlineNS int64, look func(error)) error {
	return r.enqueue(term, pendingRead{look: look, deadlineNS: deadlineNS}, false)
}

func (r *reads) enqueue(term uint64, p pendingRead, bounded bool) error {
	if bounded && !r.admit() {
		return call.ErrOverloaded
	}
	err := r.push(term, p)
	if err != nil && bounded {
		r.waiting.Add(-1)
	}
	return err
}

func (r *reads) push(term uint64, p pendingRead) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != nil {
		return r.stopped
	}
	if term == 0 || term != r.term {
		return r.hint()
	}
	r.queue = append(r.queue, p)
	if r.idle {
		r.idle = false
		r.wake.send()
	}
	return nil
}

// admit counts a read in, or reports that there are too many.
func (r *reads) admit() bool {
	if r.waiting.Add(1) > int64(r.cfg.Limits.QueueReads) {
		r.waiting.Add(-1)
		r.counters.overloaded.Add(1)
		return false
	}
	return true
}

// acceptStale runs a ReadStale on the state as it is here, or returns why it is refused.
func (r *reads) acceptStale(c *call.Call) error {
	if !runnable(c) {
		return errEmptyCall
	}
	if !r.admit() {
		return call.ErrOverloaded
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != nil {
		r.waiting.Add(-1)
		return r.stopped
	}
	r.views.run(func() { r.runChunk([]pendingRead{{call: c}}) })
	return nil
}

func (r *reads) open(term uint64, rf raftRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term, r.raft, r.ready = term, rf, false
}

func (r *reads) setReady(term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.term == term {
		r.ready = true
		r.idle = false
		r.wake.send()
	}
}

// close ends the term and refuses the reads that wait.
func (r *reads) close(refusal error) {
	r.mu.Lock()
	r.term, r.raft, r.ready = 0, nil, false
	queue := r.queue
	r.queue = nil
	r.mu.Unlock()
	r.refuseAll(queue, refusal)
	r.gate.fail(refusal)
}

// stop refuses everything from now on.
func (r *reads) stop(refusal error) {
	r.mu.Lock()
	if r.stopped == nil {
		r.stopped = refusal
	}
	r.mu.Unlock()
	r.close(refusal)
}

// end lets the goroutine finish, and waits for it and for the readers.
func (r *reads) end() {
	r.cancel()
	<-r.done
	r.gate.shut(call.ErrStopping)
	r.views.wait()
}

func (r *reads) refuseAll(list []pendingRead, err error) {
	for i := range list {
		if list[i].call != nil {
			r.waiting.Add(-1)
		}
		list[i].refuse(err)
	}
}

// run obtains read indexes until end is called.
func (r *reads) run() {
	defer close(r.done)
	timer := time.NewTimer(expiryTick)
	defer timer.Stop()
	for r.ctx.Err() == nil {
		batch, term, rf, waiting := r.next()
		if len(batch) > 0 {
			r.confirm(batch, term, rf)
			continue
		}
		var tick <-chan time.Time
		if waiting {
			timer.Reset(expiryTick)
			tick = timer.C
		}
		select {
		case <-r.wake:
		case <-tick:
		case <-r.ctx.Done():
		}
	}
}

// next takes all reads that wait, once the term is ready. waiting reports whether some
// are left that may wait too long.
func (r *reads) next() (batch []pendingRead, term uint64, rf raftRead, waiting bool) {
	now := r.watch.now()
	var expired []pendingRead
	r.mu.Lock()
	kept := r.queue[:0]
	for _, p := range r.queue {
		if p.deadlineNS > now {
			kept = append(kept, p)
		} else {
			expired = append(expired, p)
		}
	}
	clear(r.queue[len(kept):])
	r.queue = kept
	if r.ready && len(r.queue) > 0 {
		batch, r.queue = r.queue, nil
		term, rf = r.term, r.raft
	} else {
		waiting = len(r.queue) > 0
		r.idle = true
	}
	r.mu.Unlock()
	r.refuseAll(expired, call.ErrTimeout)
	return batch, term, rf, waiting
}

// confirm obtains a read index for batch, and runs batch once that index is applied.
func (r *reads) confirm(batch []pendingRead, term uint64, rf raftRead) {
	// The index is taken before the voters are asked. See the type's comment.
	index := rf.CommitIndex()
	start := r.watch.now()
	ok := r.poll(term, rf)
	if m := r.cfg.Metrics; m != nil {
		m.ReadIndex(len(batch), time.Duration(r.watch.now()-start), ok)
	}
	if !ok {
		r.refuseAll(batch, r.lostTerm(term))
		return
	}
	r.gate.when(index, func(err error) {
		if err != nil {
			r.refuseAll(batch, err)
			return
		}
		batch = lookNow(batch)
		for len(batch) > 0 {
			n := min(readChunk, len(batch))
			chunk := batch[:n:n]
			batch = batch[n:]
			r.views.run(func() { r.runChunk(chunk) })
		}
	})
}

// lostTerm returns the refusal for reads whose term no majority has confirmed. It names
// the leader of a later term, if one is known.
func (r *reads) lostTerm(term uint64) error {
	if h := r.hint(); h.Term > term {
		return h
	}
	return &call.NotLeader{}
}

// lookNow calls the looks of a batch, and returns the reads. The looks only pass the word
// on, so they need no pool, and the pool would not keep their order, in which blocked
// calls are to be served.
func lookNow(batch []pendingRead) (reads []pendingRead) {
	reads = batch[:0]
	for _, p := range batch {
		if p.look != nil {
			p.look(nil)
		} else {
			reads = append(reads, p)
		}
	}
	return reads
}

// runChunk runs reads that share a view, and answers them.
func (r *reads) runChunk(chunk []pendingRead) {
	r.views.view(func(v pebblekv.Reader, nowMS int64) {
		for i := range chunk {
			c := chunk[i].call
			val, err := r.views.read(v, nowMS, c)
			res := call.Result{Err: err}
			if err == nil {
				res.Reply = resp.AppendValue(nil, val, int(c.Proto))
			}
			r.waiting.Add(-1)
			r.counters.reads.Add(1)
			c.Done(res)
		}
	})
}
