package shard

import (
	"container/list"

	"millrace/call"
	"millrace/resp"
)

// waiterState is where a waiter stands. Only waits changes it, under its mutex.
//
//	new ──read index──► idle ──ready──► proposed ──found something──► done
//	 │                  │  ▲                │
//	 │                  │  └──found nothing─┤
//	 │                  │  └──arrival done──┤
//	 └──────────────────┴───────────────────┴─canceled, timed out, term ended──► done
//
// A waiter is unsettled while it is new or its arrival is proposed. It may turn out to be
// ready, so until then no writing waiter behind it is served from the same key.
type waiterState uint8

const (
	waiterNew      waiterState = iota // its read index has not been reached
	waiterIdle                        // to be looked at when a key of it is touched
	waiterProposed                    // an attempt is on its way through the log
	waiterDone                        // answered
)

// waiter is one blocked call: a Block or Wait call that has not been answered.
type waiter struct {
	call    *call.Call
	blocked Blocked // its command
	writes  bool    // its command changes the state, so that serving it takes a proposal
	queues  []*keyQueue
	places  []*list.Element // places[i] is its place in queues[i]

	state      waiterState
	attempt    *attempt // while state is waiterProposed
	arrived    bool     // its Blocked.Arrival has been proposed
	looked     bool     // a look since its read index found that it is not ready
	expired    bool     // its time is over, and it is answered as soon as it may be
	canceled   bool     // likewise, for a call that was canceled
	deadlineNS int64    // on the stopwatch; used only when it is in the timer heap
	timer      int      // place in the timer heap; -1 when not there
}

// unsettled reports whether it is not known yet whether the waiter is ready.
func (wt *waiter) unsettled() bool {
	return wt.state == waiterNew || wt.state == waiterProposed && wt.attempt != nil && wt.attempt.arrival
}

// null returns the reply for a waiter that has found nothing in its time.
func (wt *waiter) null() []byte {
	return resp.AppendValue(nil, resp.NullArray(), int(wt.call.Proto))
}

// attempt is a command on its way through the log for a waiter: the waiter's own, which
// serves it if it finds something, or the one that Blocked.Arrival returned.
type attempt struct {
	waits   *waits
	waiter  *waiter
	call    *call.Call
	arrival bool      // Blocked.Arrival returned it: it serves nobody and is in no bundle
	queue   *keyQueue // it belongs to the bundle of this queue; nil for none
	touches []uint64  // keyQueue.touches of the waiter's queues when it was proposed
}

// done takes the result from the applier or the proposer.
func (a *attempt) done(v resp.Value, err error) { a.waits.attempted(a, v, err) }
