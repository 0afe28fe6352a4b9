package router

import (
	"errors"

	"millrace/call"
)

// A lane is one connection's line to one shard. It keeps the connection's commands
// on that shard in order while many of them are on their way at once:
//
//   - Writes follow each other without waiting. A read waits for the writes ahead of
//     it, and a write for the reads ahead of it.
//   - All calls on their way were sent to one node under one term. A shard that
//     refused one call under a term accepts no later one under that term. So once
//     every call has been answered, the refused jobs can be sent again, in order.
//   - Other refusals (overload, a broken connection) do not promise that. So a job is
//     sent again only if no later job of the lane was accepted; otherwise its client
//     is told that it was not done. For example, of the writes 1, 2, 3 and 4 an
//     overloaded shard refuses 1, 3 and 4: then 3 and 4 are sent again, and 1 is not.
//   - A job whose outcome is unknown counts as accepted, and is never sent again.
//
// All fields are guarded by c.mu.
type lane struct {
	route
	c     *conn
	state laneState

	queue   []*job // not sent yet, in order
	spare   []*job // empty: the array in which queue grows after it was empty
	refused []*job // sent and refused, in order
	writes  int    // on their way
	reads   int    // on their way
	seq     uint64 // of the last job that was queued
	upTo    uint64 // greatest seq of a write that was accepted or is in doubt
	pumping bool   // a goroutine is submitting jobs
	flagged bool   // in c.pumps
}

// laneState says whether a lane may send.
type laneState uint8

const (
	laneOpen     laneState = iota // jobs may be sent
	laneDraining                  // a job was refused; waits for the answers of all sent jobs
	laneSeeking                   // waits for a leader, or for an overload to pass
)

// push queues j at the end.
func (l *lane) push(j *job) {
	l.seq++
	j.seq = l.seq
	j.lane = l
	if len(l.queue) == 0 {
		l.queue = append(l.spare[:0], j)
		l.spare = l.queue[:0]
		return
	}
	l.queue = append(l.queue, j)
}

// ready reports whether the first queued job may be sent now.
func (l *lane) ready() bool {
	if l.state != laneOpen || len(l.queue) == 0 {
		return false
	}
	if l.queue[0].kind == call.Write {
		return l.reads == 0
	}
	return l.writes == 0 && l.reads < l.c.r.lim.ReadAhead
}

// pump submits the jobs that may be sent. Calls have to be submitted in order, so one
// goroutine at a time pumps; it also sees the jobs that are queued meanwhile. c.mu must
// not be held, because Submit may answer at once.
func (l *lane) pump() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.pumping {
		return
	}
	l.pumping = true
	for {
		node, a := l.next()
		if a == nil {
			l.pumping = false
			return
		}
		l.c.mu.Unlock()
		l.c.r.backend.Submit(node, &a.call)
		l.c.mu.Lock()
	}
}

// next takes the first queued job if it may be sent, and returns its attempt and the node
// to send it to; nil if there is none.
func (l *lane) next() (node string, a *attempt) {
	if !l.ready() || l.c.dead {
		return "", nil
	}
	if l.writes+l.reads == 0 {
		l.refresh()
	}
	j := l.queue[0]
	if l.term == 0 && !j.local {
		l.wait(nil)
		return "", nil
	}
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return l.prepare(j)
}

// prepare makes the next attempt of j.
func (l *lane) prepare(j *job) (node string, a *attempt) {
	r := l.c.r
	a = &j.first
	if j.tries > 0 {
		a = new(attempt)
	}
	j.tries++
	j.cur = a
	a.job = j
	now := r.now()
	j.sentAt = now
	node, kind := l.node, j.kind
	if j.local {
		node, kind = r.self, call.ReadStale
	}
	a.call = call.Call{
		Shard: l.shard, Term: l.term, Kind: kind, Cmds: j.cmds, Multi: j.multi, Proto: j.proto,
		TimeoutMS: millis(j.deadline - now), Done: a.done,
	}
	if j.kind == call.Write {
		l.writes++
	} else {
		l.reads++
	}
	return node, a
}

// answered takes the answer of j's current attempt.
func (l *lane) answered(j *job, res call.Result) {
	if j.kind == call.Write {
		l.writes--
	} else {
		l.reads--
	}
	switch out := judge(j.kind, res.Err); {
	case out == outcomeDone:
		if j.kind == call.Write && j.seq > l.upTo {
			l.upTo = j.seq
		}
		l.hops = 0
		l.finish(j, res)
	case out == outcomeInDoubt:
		if j.seq > l.upTo {
			l.upTo = j.seq
		}
		l.finish(j, res)
	case out == outcomeFinal || l.c.dead:
		l.finish(j, res)
	case j.local: // the replica of this node is gone: ask the leader
		j.local = false
		l.refuse(j, nil)
	default:
		l.refuse(j, res.Err)
	}
	if l.state == laneDraining && l.writes == 0 && l.reads == 0 {
		l.drained()
	}
	l.flag()
}

// refuse keeps j, which was refused, in the order of seq.
func (l *lane) refuse(j *job, err error) {
	j.err = err
	l.state = laneDraining
	i := len(l.refused)
	for i > 0 && l.refused[i-1].seq > j.seq {
		i--
	}
	l.refused = append(l.refused, nil)
	copy(l.refused[i+1:], l.refused[i:])
	l.refused[i] = j
}

// drained runs in state laneDraining, once every call that was sent is answered. The refused
// jobs return to the head of the queue, in order. But a refused write is ended if a later write
// was accepted or is in doubt, because it would come after that one. The lane opens at once if
// nothing is left to send or a newer leader is known. Otherwise the shard's seeker looks for a
// leader first.
func (l *lane) drained() {
	var why error
	again := l.refused[:0:0]
	for _, j := range l.refused {
		if j.kind == call.Write && j.seq < l.upTo {
			if !busy(j.err) {
				j.err = errOvertaken
			}
			l.finish(j, call.Result{Err: j.err})
			continue
		}
		if why == nil {
			why = j.err
		}
		again = append(again, j)
	}
	l.refused = nil
	l.queue = append(again, l.queue...)
	l.expire()
	if len(l.queue) == 0 || why == nil {
		l.state = laneOpen
		return
	}
	if l.follow(why) {
		l.state = laneOpen
		return
	}
	l.wait(why)
}

// wait begins a search for another leader than the one that refused because of why, or
// for the time to try that one again. The seeker then calls resume.
func (l *lane) wait(why error) {
	l.state = laneSeeking
	s := l.newSearch(why, l.queue[0].deadline)
	s.found = l.resume
	l.begin(s)
}

// resume opens the lane to a leader. A zero term means that patience has ended for the
// first job. The seeker calls resume without locks held.
func (l *lane) resume(node string, term uint64) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.c.dead || l.state != laneSeeking {
		return
	}
	l.expire()
	l.node, l.term = node, term
	if len(l.queue) > 0 && term == 0 {
		l.wait(nil)
		return
	}
	l.state = laneOpen
	l.flag()
}

// expire answers the queued jobs whose patience has ended. Deadlines rise along the
// queue.
func (l *lane) expire() {
	now := l.c.r.now()
	for len(l.queue) > 0 && l.queue[0].deadline <= now {
		j := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if j.err == nil {
			j.err = errNoLeader
		}
		l.finish(j, call.Result{Err: j.err})
	}
}

// errNoLeader ends a job that was never sent, because no leader was found in time.
var errNoLeader = errors.New("router: no leader is known")

// abandon gives up on the answer of j, which has been on its way for too long.
func (l *lane) abandon(j *job) {
	j.cur = nil
	err := call.ErrTimeout
	if j.kind == call.Write {
		err = call.ErrInDoubt
	}
	j.deadline = 0
	l.answered(j, call.Result{Err: err})
}

// finish ends j with an answer.
func (l *lane) finish(j *job, res call.Result) {
	j.settled = true
	l.c.finishJob(j, res)
}

// flag leaves it to the writer to pump the lane, if a job may be sent. An answer comes on a
// goroutine of a shard, which must not be held up.
func (l *lane) flag() {
	if l.flagged || l.pumping || !l.ready() {
		return
	}
	l.flagged = true
	l.c.pumps = append(l.c.pumps, l)
	l.c.work.Signal()
}

// millis returns ns in milliseconds, at least 1, and at most a number that fits a call.
func millis(ns int64) uint32 {
	ms := ns / 1e6
	return uint32(max(1, min(ms, 1<<31)))
}
