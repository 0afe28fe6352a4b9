package shard

import (
	"sync"
	"sync/atomic"

	"millrace/call"
	"millrace/resp"
)

// queued is a write that waits to be proposed, or was proposed: a call, or the attempt to
// serve a blocked call.
type queued struct {
	call       *call.Call // nil for an attempt
	attempt    *attempt   // nil for a call
	size       int        // bytes that it adds to a record
	deadlineNS int64      // on the stopwatch; after it the call is not proposed any more
}

// refuse answers q with an error.
func (q *queued) refuse(err error) {
	if q.attempt != nil {
		q.attempt.done(resp.Value{}, err)
		return
	}
	q.call.Done(call.Result{Err: err})
}

// proposal is a record that this replica has handed to Raft.
type proposal struct {
	seq, term uint64
	calls     []queued
	bytes     int
	sentNS    int64
	opening   bool // the first record of a term
	// appended is set before the record is written to our log. A leader writes its own
	// log first, so while appended is not set, no replica has the record.
	appended atomic.Bool
}

// inflight holds the proposals whose calls have not been answered. The part that takes a
// proposal out answers its calls: the applier, once the record is applied, or the end of
// the term in which it was proposed.
type inflight struct {
	origin uint64 // random; tells this replica's records from those of other authors

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

// take returns the proposal and removes it: the caller answers its calls. It returns nil
// when another caller has taken it.
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

// takeAll removes all proposals and returns them in the order in which they were made.
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
// reports whether it did. Raft may still take the record, which has no effect.
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

// abandon answers everything in flight, at the end of a term: with refusal if the record
// never reached a log, and with call.ErrInDoubt otherwise. Raft must have left the
// leader's state before. From then on no record of that term is written, here or anywhere
// else, under its own term, and all replicas skip one that is stored under a later term.
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
