package shard

import (
	"sync/atomic"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

// dueTimeoutMS bounds how long a command that is due may wait to be proposed. Past it
// the next tick asks again.
const dueTimeoutMS = 10_000

// due proposes what the machine does for the passing of time alone. It asks when the
// supervisor ticks, and then only if something was applied since it asked last or the
// time has come that it was told: a shard in which nothing is to happen costs nothing.
// Once something was due it goes on without a tick until nothing is.
type due struct {
	*shared
	views  *viewer
	writes *proposer

	busy atomic.Bool // asking, or a command is under way

	// Owned by whoever has set busy.
	asked   bool   // what follows is known
	applied uint64 // log items applied when it asked last
	againMS int64  // when to ask again if nothing more is applied; zero: never
}

func newDue(sh *shared, v *viewer, p *proposer) *due {
	return &due{shared: sh, views: v, writes: p}
}

// tick asks the machine if there is reason to. This replica leads in term.
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

// askSoon has the machine asked outside of the supervisor, which must not wait for a disk.
func (d *due) askSoon(term uint64) { d.views.run(func() { d.ask(term) }) }

// ask asks the machine, and proposes what is due.
func (d *due) ask(term uint64) {
	// Counted before the view is taken: what comes after it is asked about again.
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

// done hears how a command that was due fared.
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
