package shard

import (
	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

// verdict is the result of a look at a waiter.
type verdict struct {
	looked  bool     // false: enough others were ready, and this one was left out
	ready   bool     // there is something for the waiter
	reply   []byte   // the answer, for a ready waiter that a read serves
	arrival [][]byte // the command to propose for a waiter that is not ready at its first look
	err     error
}

// look looks at waiters, all on one view: on several, a later waiter could be found ready
// and an earlier one not, only because the earlier one was looked at before a write. Once
// enough writing waiters are ready, the remaining writing ones are left out.
//
// first says that the waiters are looked at for the first time. Then a reading waiter's
// command is run and any answer counts, an error as well. Later it is run only when the
// machine says that it is ready: a blocked call is not ended by an error that would have
// refused it at the start.
func (w *waits) look(list []*waiter, enough int, first bool) []verdict {
	out := make([]verdict, len(list))
	w.views.view(func(v pebblekv.Reader, nowMS int64) {
		for i, wt := range list {
			switch {
			case wt.writes && enough == 0: // left out
			case wt.call.Kind == call.Block && !wt.writes:
				out[i] = w.lookByReading(v, nowMS, wt, first)
			default:
				out[i] = w.lookIfReady(v, nowMS, wt, first)
				if wt.writes && out[i].ready {
					enough--
				}
			}
		}
	})
	return out
}

// lookByReading looks at a waiter whose command only reads, and runs the command.
func (w *waits) lookByReading(v pebblekv.Reader, nowMS int64, wt *waiter, first bool) verdict {
	out := verdict{looked: true}
	var val resp.Value
	if first {
		val, out.err = w.views.read(v, nowMS, wt.call)
	} else {
		var ready bool
		if ready, out.err = w.views.ready(v, nowMS, wt.blocked); out.err != nil || !ready {
			return out
		}
		val, out.err = w.views.readWaited(v, nowMS, wt.blocked)
	}
	if out.ready = out.err == nil && !val.IsNull(); out.ready {
		out.reply = resp.AppendValue(nil, val, int(wt.call.Proto))
	}
	return out
}

// lookIfReady looks at a waiter whose command writes, or at a Wait call, without running
// the command.
func (w *waits) lookIfReady(v pebblekv.Reader, nowMS int64, wt *waiter, first bool) verdict {
	out := verdict{looked: true}
	out.ready, out.err = w.views.ready(v, nowMS, wt.blocked)
	if wt.writes && first && !out.ready && out.err == nil {
		out.arrival, out.err = w.views.arrival(v, nowMS, wt.blocked)
	}
	return out
}
