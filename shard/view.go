package shard

import (
	"errors"
	"fmt"
	"runtime/debug"

	"millrace/call"
	"millrace/kv/pebblekv"
	"millrace/resp"
)

// viewer runs the methods of the machine that read, on views of the state. It is where
// their failures end: a panic becomes an error of the one call, and a read error of the
// disk becomes this node's end.
type viewer struct {
	*shared
	blocker Blocker // nil: the machine has no blocking commands
	timed   Timed   // nil: time changes nothing in the machine
	pool    *pool
}

func newViewer(sh *shared) *viewer {
	vw := &viewer{shared: sh, pool: newPool(sh.cfg.Limits.Readers)}
	vw.blocker, _ = sh.cfg.Machine.(Blocker)
	vw.timed, _ = sh.cfg.Machine.(Timed)
	return vw
}

// run runs job soon, beside at most Limits.Readers - 1 others.
func (vw *viewer) run(job func()) { vw.pool.run(job) }

// wait returns once all jobs are done.
func (vw *viewer) wait() { vw.pool.wait() }

// view calls f with a view of the state and the shard's time.
func (vw *viewer) view(f func(v pebblekv.Reader, nowMS int64)) {
	vw.fence.RLock()
	defer vw.fence.RUnlock()
	snap := vw.cfg.State.NewSnapshot()
	defer snap.Close()
	f(pebblekv.Reader{R: snap}, vw.clock.now())
}

// read runs the commands of a call that only reads, all on the view v. A call with a
// command that panics is answered with an error.
func (vw *viewer) read(v pebblekv.Reader, nowMS int64, c *call.Call) (val resp.Value, err error) {
	defer vw.recovered(func() { val, err = resp.Err("ERR internal error"), nil })
	replies, refusal, err := vw.cfg.Machine.Read(v, nowMS, c.Cmds)
	if err != nil {
		return resp.Value{}, vw.failed(err)
	}
	return replyOf(c.Multi, replies, refusal), nil
}

// replyOf returns the reply of a call: the refusal of the whole call if there is one,
// otherwise the replies of its commands. Those of an EXEC are one array.
func replyOf(multi bool, replies []resp.Value, refusal *resp.Value) resp.Value {
	switch {
	case refusal != nil:
		return *refusal
	case multi:
		return resp.Array(replies...)
	}
	return replies[0]
}

// readWaited is read for a blocked command that the machine has found ready.
func (vw *viewer) readWaited(v pebblekv.Reader, nowMS int64, b Blocked) (val resp.Value, err error) {
	defer vw.recovered(func() { val, err = resp.Err("ERR internal error"), nil })
	val, err = b.Read(v, nowMS)
	return val, vw.failed(err)
}

// ready asks whether a blocked command would answer something. A command that panics is
// refused, because proposing it would halt every replica.
func (vw *viewer) ready(v pebblekv.Reader, nowMS int64, b Blocked) (ready bool, err error) {
	defer vw.recovered(func() { ready, err = false, call.ErrStopping })
	ready, err = b.Ready(v, nowMS)
	return ready, vw.failed(err)
}

// arrival asks for the command to propose when a blocked command has found nothing at its
// first look. It returns nil when there is none.
func (vw *viewer) arrival(v pebblekv.Reader, nowMS int64, b Blocked) (run [][]byte, err error) {
	defer vw.recovered(func() { run, err = nil, call.ErrStopping })
	run, err = b.Arrival(v, nowMS)
	return run, vw.failed(err)
}

// due asks the machine for the command that is due. After a panic the next tick asks
// again.
func (vw *viewer) due(v pebblekv.Reader, nowMS int64) (argv [][]byte, againMS int64, err error) {
	defer vw.recovered(func() { argv, againMS, err = nil, 0, call.ErrStopping })
	argv, againMS, err = vw.timed.Due(v, nowMS)
	return argv, againMS, vw.failed(err)
}

// failed reports a read error of the disk as fatal, and returns the refusal for the call.
func (vw *viewer) failed(err error) error {
	if err == nil {
		return nil
	}
	vw.fatal(fmt.Errorf("shard %d: read: %w", vw.cfg.ID, err))
	return errors.Join(call.ErrStopping, err)
}

// recovered, deferred, lets the process survive a panic in a command that only reads.
func (vw *viewer) recovered(then func()) {
	if p := recover(); p != nil {
		vw.cfg.Logger.Error("a read panicked", "shard", vw.cfg.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		then()
	}
}
