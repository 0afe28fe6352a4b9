package shard

import (
	"sync/atomic"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

// dueTimeoutMS bounds how long a command that is due may wait to be proposed. After that
// the next tick asks again.
const dueTimeoutMS = 10_000

// due proposes the commands that the machine wants for the passing of time alone, such as
// removing an expired name. On a supervisor tick of the leader it asks the machine, but
// only if a record was applied since it last asked, or if the time has come that the
// machine named then. So a shard in which nothing is to happen costs nothing. Once a
// command was due it goes on asking, without waiting for ticks, until none is.
type due struct {
	*shared
	views  *viewer
	writes *proposer

	busy atomic.Bool // the machine is being asked, or a command is under way

	// Owned by the goroutine that has set busy.
	asked   bool   // applied and againMS hold the last answer
	applied uint64 // log items that were applied when it last asked
	againMS int64  // when to ask again although nothing more is applied; zero: never
}

func newDue(sh *shared, v *viewer, p *proposer) *due {
	return &due{shared: sh, views: v, writes: p}
}

// tick asks the machine if there is a reason to. This replica leads in term.
func (d *due) tick(term uint64) {
	if d.views.timed == nil || !d.busy.CompareAndSwap(false, true) {
		return
	}
	if d.asked && d.applied == d.counters.applied.Load() && (d.againMS == 0 || d.clock.now() < d.againMS) {
		d.busy.Store(false)
		return
	}
	d.askSoon(term)
}

// askSoon asks the machine on another goroutine, because the supervisor must not wait for
// a disk.
func (d *due) askSoon(term uint64) { d.views.run(func() { d.ask(term) }) }

// ask asks the machine, and proposes the command that is due.
func (d *due) ask(term uint64) {
	// The count is taken before the view, so that a record applied in between leads to
	// another question.
	d.applied = d.counters.applied.Load()
	var argv [][]byte
	var err error
	d.views.view(func(v pebblekv.Reader, nowMS int64) {
		argv, d.againMS, err = d.views.due(v, nowMS)
	})
	d.asked = err == nil
	if err != nil || argv == nil {
		d.busy.Store(false)
		return
	}
	c := &call.Call{
		Shard: d.cfg.ID, Term: term, Kind: call.Write, Cmds: [][][]byte{argv}, Proto: 2, TimeoutMS: dueTimeoutMS,
		Done: func(res call.Result) { d.done(term, res) },
	}
	if err := d.writes.accept(c); err != nil {
		d.done(term, call.Result{Err: err})
	}
}

// done takes the result of a command that was due.
func (d *due) done(term uint64, res call.Result) {
	if res.Err == nil {
		if v, _, err := resp.ParseValue(res.Reply); err == nil && v.Kind == resp.KindInt && d.cfg.OnDue != nil {
			d.cfg.OnDue(v.Int)
		}
		d.askSoon(term)
		return
	}
	d.asked = false
	d.busy.Store(false)
}
