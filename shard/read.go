package shard

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/internal/mutant"
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

// pendingRead waits for a read index: a Read call, or the first look of a blocked call.
type pendingRead struct {
	call       *call.Call  // nil for a look
	look       func(error) // called once every write that was answered before is visible
	deadlineNS int64
}

func (r *pendingRead) refuse(err error) {
	if r.look != nil {
		r.look(err)
		return
	}
	r.call.Done(call.Result{Err: err})
}

// reads makes reads linearizable. The leader has applied a record of its own term, so
// its commit index covers every write ever answered; it takes that index, and then
// asks a majority of the voters for their terms. If none has a later one, no other
// leader can have committed anything before the question was asked. What waits shares
// one round of questions. Raft's own VerifyLeader counts answers to heartbeats that
// were sent before the read began, and those of non-voters: it proves nothing.
type reads struct {
	cfg      *Config
	watch    stopwatch
	clock    *shardClock
	gate     *gate
	fence    *sync.RWMutex
	pool     *pool
	counters *counters
	hint     func() *call.NotLeader
	onFatal  func(error)

	waiting atomic.Int64 // reads accepted and not answered: QueueReads bounds it

	mu      sync.Mutex
	queue   []pendingRead // guarded by mu, as all below
	term    uint64
	raft    raftRead
	ready   bool // the term's first record was applied
	stopped error
	idle    bool

	wake   chan struct{} // capacity 1
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

func newReads(cfg *Config) *reads {
	r := &reads{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// accept queues a Read, or returns why it is refused.
func (r *reads) accept(c *call.Call) error {
	if len(c.Cmds) != 1 || len(c.Cmds[0]) == 0 {
		return errEmptyCall
	}
	deadline := r.watch.now() + int64(c.TimeoutMS)*int64(time.Millisecond)
	return r.enqueue(c.Term, pendingRead{call: c, deadlineNS: deadline}, true)
}

// lookSoon calls look once every write answered before is visible, or with an error.
// look must not block. The bound of its caller holds for it, not QueueReads.
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
		r.poke()
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

func (r *reads) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// acceptStale runs a ReadStale on whatever is applied here, or returns why it is refused.
func (r *reads) acceptStale(c *call.Call) error {
	if len(c.Cmds) != 1 || len(c.Cmds[0]) == 0 {
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
	r.pool.run(func() { r.runChunk([]pendingRead{{call: c}}) })
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
		r.poke()
	}
}

// close ends the term and refuses what waits.
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
	r.pool.wait()
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

// next takes everything that waits, once the term is ready.
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

// confirm obtains a read index for batch, and runs it once that is applied.
func (r *reads) confirm(batch []pendingRead, term uint64, rf raftRead) {
	// The order matters: first the index, then the question.
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
			r.pool.run(func() { r.runChunk(chunk) })
		}
	})
}

// lostTerm is the refusal when no majority confirmed the term: where another leader is
// known, its name.
func (r *reads) lostTerm(term uint64) error {
	if h := r.hint(); h.Term > term {
		return h
	}
	return &call.NotLeader{}
}

// poll reports whether a majority of the voters, this one included, is in no later
// term than ours.
func (r *reads) poll(term uint64, rf raftRead) bool {
	if v, ok := rf.(interface{ VerifyLeader() raft.Future }); mutant.VerifyLeaderReads && ok {
		return v.VerifyLeader().Error() == nil
	}
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return false
	}
	self := raft.ServerID(r.cfg.NodeID)
	var others []string
	voters, yes := 0, 0
	for _, s := range f.Configuration().Servers {
		if s.Suffrage != raft.Voter {
			if mutant.NonvotersCount {
				others = append(others, string(s.ID))
			}
			continue
		}
		voters++
		if s.ID == self {
			yes++
		} else {
			others = append(others, string(s.ID))
		}
	}
	need := voters/2 + 1
	if yes == 0 || !leads(rf, term) {
		return false
	}
	if yes < need {
		r.counters.polls.Add(1)
		yes += r.ask(others, term, need-yes)
	}
	return yes >= need && leads(rf, term)
}

// leads reports whether rf leads in term.
func leads(rf raftRead, term uint64) bool {
	return rf.CurrentTerm() == term && rf.State() == raft.Leader && rf.CurrentTerm() == term
}

// ask asks nodes for their terms, until need of them are in no later term than ours,
// or that cannot be any more. It returns how many are.
func (r *reads) ask(nodes []string, term uint64, need int) int {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timing.Probe)
	answers := make(chan bool, len(nodes))
	var wg sync.WaitGroup
	// One goroutine for each other voter, for the time of its question.
	for _, node := range nodes {
		wg.Go(func() {
			p, err := r.cfg.Prober.Probe(ctx, node, r.cfg.ID)
			// A replica without a running Raft says term 0: it may be about to vote.
			answers <- err == nil && p.Hosted && p.Term != 0 && p.Term <= term
		})
	}
	yes, no := 0, 0
	for yes < need && len(nodes)-no >= need {
		if <-answers {
			yes++
		} else {
			no++
		}
	}
	cancel()
	wg.Wait()
	return yes
}

// lookNow calls the looks of a batch, which only pass the word on, and returns the reads.
// The pool would not keep their order, in which those who wait are to be served.
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

// runChunk runs reads that share a view.
func (r *reads) runChunk(chunk []pendingRead) {
	r.view(func(v pebblekv.Reader, nowMS int64) {
		for i := range chunk {
			c := chunk[i].call
			val, err := r.read(v, nowMS, c.Cmds[0])
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

// view calls f with a view of the state.
func (r *reads) view(f func(v pebblekv.Reader, nowMS int64)) {
	r.fence.RLock()
	defer r.fence.RUnlock()
	snap := r.cfg.State.NewSnapshot()
	defer snap.Close()
	f(pebblekv.Reader{R: snap}, r.clock.now())
}

// read runs one command. A command that panics answers an error; a read error of the
// disk is this node's end.
func (r *reads) read(v pebblekv.Reader, nowMS int64, argv [][]byte) (val resp.Value, err error) {
	defer r.recovered(func() { val, err = resp.Err("ERR internal error"), nil })
	val, err = r.cfg.Machine.Read(v, nowMS, argv)
	return val, r.readFailed(err)
}

// readWaited is read for a blocked command that b has found ready.
func (r *reads) readWaited(b Blocker, v pebblekv.Reader, nowMS int64, argv [][]byte) (val resp.Value, err error) {
	defer r.recovered(func() { val, err = resp.Err("ERR internal error"), nil })
	val, err = b.ReadWaited(v, nowMS, argv)
	return val, r.readFailed(err)
}

// blockedReady asks whether a blocked command would answer something. One that panics is
// refused: to propose it would halt every replica.
func (r *reads) blockedReady(b Blocker, v pebblekv.Reader, nowMS int64, argv [][]byte) (ready bool, err error) {
	defer r.recovered(func() { ready, err = false, call.ErrStopping })
	ready, err = b.Ready(v, nowMS, argv)
	return ready, r.readFailed(err)
}

// blockedArrival asks what a blocked command leaves although it finds nothing.
func (r *reads) blockedArrival(b Blocker, v pebblekv.Reader, nowMS int64, argv [][]byte) (run [][]byte, err error) {
	defer r.recovered(func() { run, err = nil, call.ErrStopping })
	run, err = b.Arrival(v, nowMS, argv)
	return run, r.readFailed(err)
}

func (r *reads) readFailed(err error) error {
	if err == nil {
		return nil
	}
	r.onFatal(fmt.Errorf("shard %d: read: %w", r.cfg.ID, err))
	return errors.Join(call.ErrStopping, err)
}

// recovered, deferred, lets the process survive a panic in a command that only reads.
func (r *reads) recovered(then func()) {
	if p := recover(); p != nil {
		r.cfg.Logger.Error("a read panicked", "shard", r.cfg.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		then()
	}
}
