package shard

import (
	"sync"
	"sync/atomic"

	"millrace/call"
	"millrace/resp"
)

// queued is a write that waits to be proposed, or has been: a call, or the command of
// a blocked call that the shard serves.
type queued struct {
	call       *call.Call // nil for an attempt
	attempt    *attempt   // nil for a call
	size       int        // of its part of a record
	deadlineNS int64      // on the stopwatch; past it the call is not proposed any more
}

// refuse answers q with an error.
func (q *queued) refuse(err error) {
	if q.attempt != nil {
		q.attempt.done(resp.Value{}, err)
		return
	}
	q.call.Done(call.Result{Err: err})
}

// proposal is a record of ours that was handed to Raft.
type proposal struct {
	seq, term uint64
	calls     []queued
	bytes     int
	sentNS    int64
	opening   bool // the first of a term
	// appended is set before the record goes to our log, which is where a leader's
	// record goes first: while it is not set, nobody has the record.
	appended atomic.Bool
}

// inflight holds the proposals whose calls have not been answered. Whoever takes one
// out answers its calls: the applier once it is applied, or the end of the term in
// which it was proposed.
type inflight struct {
	origin uint64 // random: ours, of all the authors that records may have

	mu    sync.Mutex
	bySeq map[uint64]*proposal // guarded by mu
}

func newInflight(origin uint64) *inflight {
	return &inflight{origin: origin, bySeq: make(map[uint64]*proposal)}
}

func (f *inflight) add(p *proposal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bySeq[p.seq] = p
}

func (f *inflight) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.bySeq)
}

// get returns the proposal without taking it, or nil.
func (f *inflight) get(origin, seq uint64) *proposal {
	if origin != f.origin {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bySeq[seq]
}

// take returns the proposal to whoever will answer its calls, or nil when somebody
// else has taken it.
func (f *inflight) take(origin, seq uint64) *proposal {
	if origin != f.origin {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.bySeq[seq]
	delete(f.bySeq, seq)
	return p
}

// takeAll returns all proposals in the order they were made.
func (f *inflight) takeAll() []*proposal {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*proposal, 0, len(f.bySeq))
	for _, p := range f.bySeq {
		i := len(out)
		for out = append(out, p); i > 0 && out[i-1].seq > p.seq; i-- {
			out[i] = out[i-1]
		}
		out[i] = p
	}
	clear(f.bySeq)
	return out
}

// markAppended notes that a record is about to be written to our log.
func (f *inflight) markAppended(data []byte) {
	if origin, seq, ok := recordOrigin(data); ok {
		if p := f.get(origin, seq); p != nil {
			p.appended.Store(true)
		}
	}
}

// dropOpening forgets the opening record of a term if it has not reached our log, and
// reports whether it was so. Raft may still take it: it has no effect.
func (f *inflight) dropOpening() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, p := range f.bySeq {
		if p.opening && !p.appended.Load() {
			delete(f.bySeq, seq)
			return true
		}
	}
	return false
}

// abandon answers everything in flight, at the end of a term: refusal for what never
// reached a log, call.ErrInDoubt for the rest. Raft must have left the leader's state:
// then nothing more of that term is written, here or anywhere, and a record of that
// term under a later one is skipped by all replicas.
func (f *inflight) abandon(refusal error) {
	for _, p := range f.takeAll() {
		err := refusal
		if p.appended.Load() {
			err = call.ErrInDoubt
		}
		for i := range p.calls {
			p.calls[i].refuse(err)
		}
	}
}
