package shard

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

// expiryTick is how often waiting calls are searched for those that have waited too long,
// while nothing else wakes the goroutine that keeps them.
const expiryTick = 100 * time.Millisecond

// raftApply is the part of *raft.Raft that proposes.
type raftApply interface {
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
}

// proposer turns waiting writes into records, in order. One goroutine takes all calls
// that wait, up to a record's size, and hands the record to Raft. The number of records
// under way is bounded.
//
// The proposer never asks Raft's futures how a record fared. Raft abandons futures when
// it shuts down, so waiting for one could last for ever. Nor can they say more than is
// known here: the applier has seen the record, or the record has reached our log (see
// inflight), or neither.
type proposer struct {
	*shared

	mu      sync.Mutex
	queue   []queued  // guarded by mu, as all below
	bytes   int       // of the queue
	term    uint64    // the term this replica leads in; 0 while it does not
	raft    raftApply // of that term
	opened  bool      // the term's first record was handed to Raft
	ready   bool      // the term's first record was applied, so writes go out
	paused  bool      // a leadership transfer is under way
	stopped error     // why no more calls are taken; nil while they are
	seq     uint64    // of the last record
	idle    bool      // the goroutine waits on wake
	scanNS  int64     // when the whole queue was last searched for calls that waited too long
	openNS  int64     // when the term's first record was first due
	pace    pace      // decides whether the next record waits to become fuller

	wake signal
	quit chan struct{} // closed by end
	done chan struct{} // closed when the goroutine has ended
}

func newProposer(sh *shared) *proposer {
	return &proposer{shared: sh, wake: newSignal(), quit: make(chan struct{}), done: make(chan struct{})}
}

// accept queues a Write, or returns why it is refused.
func (p *proposer) accept(c *call.Call) error {
	size := callSize(c)
	if size < 0 {
		return errEmptyCall
	}
	if size > p.cfg.Limits.MaxCallBytes {
		return call.ErrTooLarge
	}
	now := p.watch.now()
	deadline := now + int64(c.TimeoutMS)*int64(time.Millisecond)
	p.mu.Lock()
	switch {
	case p.stopped != nil:
		p.mu.Unlock()
		return p.stopped
	case c.Term == 0 || c.Term != p.term:
		p.mu.Unlock()
		return p.hint()
	case len(p.queue) >= p.cfg.Limits.QueueCalls || p.bytes+size > p.cfg.Limits.QueueBytes && len(p.queue) > 0:
		p.mu.Unlock()
		p.counters.overloaded.Add(1)
		return call.ErrOverloaded
	}
	p.queue = append(p.queue, queued{call: c, size: size, deadlineNS: deadline})
	p.bytes += size
	// The first call that waits starts the search for calls that waited too long. After
	// that the goroutine has something to do only when a record may go.
	wake := p.idle && (len(p.queue) == 1 || p.roomLocked() && p.holdLocked(now) <= 0)
	if wake {
		p.idle = false
	}
	p.mu.Unlock()
	if wake {
		p.wake.send()
	}
	return nil
}

// serve queues the commands of blocked calls next to each other. The bounds for calls do
// not hold for them, because blocked calls have a bound of their own. serve refuses all
// of them when term has ended.
func (p *proposer) serve(term uint64, bundle []*attempt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		return p.stopped
	}
	if term == 0 || term != p.term {
		return p.hint()
	}
	for _, a := range bundle {
		size := callSize(a.call)
		p.queue = append(p.queue, queued{attempt: a, size: size, deadlineNS: 1<<63 - 1})
		p.bytes += size
	}
	p.idle = false
	p.wake.send()
	return nil
}

// withdraw takes back an attempt that serve has queued, unless it was proposed. It
// reports whether it did; then the attempt's done is not called.
func (p *proposer) withdraw(a *attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.queue {
		if p.queue[i].attempt == a {
			p.bytes -= p.queue[i].size
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}

// wakeUp makes the goroutine look again, because a record was applied and there is room.
func (p *proposer) wakeUp() {
	p.mu.Lock()
	if p.inflight.len() == 0 {
		p.pace.applied(len(p.queue), p.watch.now(), p.cfg.Timing.Linger)
	}
	wake := p.idle
	p.idle = false
	p.mu.Unlock()
	if wake {
		p.wake.send()
	}
}

// open starts a term: calls are queued, and the term's first record is proposed.
func (p *proposer) open(term uint64, r raftApply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.term, p.raft, p.opened, p.ready, p.paused = term, r, false, false, false
	p.openNS = p.watch.now()
	p.pace = pace{}
	p.idle = false
	p.wake.send()
}

// setReady lets the writes of term go out, because its first record was applied.
func (p *proposer) setReady(term uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term == term {
		p.ready = true
		p.idle = false
		p.wake.send()
	}
}

// close ends the term and refuses the calls in the queue. Records in flight are left
// alone.
func (p *proposer) close(refusal error) {
	p.mu.Lock()
	p.term, p.raft, p.ready = 0, nil, false
	queue := p.takeQueueLocked()
	p.mu.Unlock()
	for i := range queue {
		queue[i].refuse(refusal)
	}
}

// stop refuses everything from now on.
func (p *proposer) stop(refusal error) {
	p.mu.Lock()
	if p.stopped == nil {
		p.stopped = refusal
	}
	p.mu.Unlock()
	p.close(refusal)
}

// end lets the goroutine finish, and waits for it. stop must have been called before.
func (p *proposer) end() {
	close(p.quit)
	<-p.done
}

func (p *proposer) takeQueueLocked() []queued {
	q := p.queue
	p.queue, p.bytes = nil, 0
	return q
}

// pause holds writes back while the leadership of term is handed over, until resume or
// the end of the term. It reports whether term is still led. The writes of a later term
// are not held back, because nobody would resume them.
func (p *proposer) pause(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != term {
		return false
	}
	p.paused = true
	return true
}

// resume lets writes go on after a transfer that failed. Raft may refuse records for a
// moment longer, and no record may be taken that follows a refused one. So writes wait
// until a record without calls was applied, as at the beginning of a term.
func (p *proposer) resume(term uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != term || !p.paused {
		return
	}
	p.paused, p.opened, p.ready = false, false, false
	p.openNS = p.watch.now()
	p.idle = false
	p.wake.send()
}

// reopen proposes the term's first record once more if Raft has not taken it, and returns
// for how long it has been due. It returns 0 when there is nothing to wait for.
func (p *proposer) reopen() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term == 0 || !p.opened || p.ready || p.paused || !p.inflight.dropOpening() {
		return 0
	}
	p.opened = false
	p.idle = false
	p.wake.send()
	return time.Duration(p.watch.now() - p.openNS)
}

// run proposes until end is called.
func (p *proposer) run() {
	defer close(p.done)
	timer := time.NewTimer(expiryTick)
	defer timer.Stop()
	for {
		prop, r, wait := p.next()
		if prop != nil {
			data := p.encode(prop)
			// The error is known already or becomes known in other ways. See the type's
			// comment.
			_ = r.Apply(data, 0)
			continue
		}
		var tick <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			tick = timer.C
		}
		select {
		case <-p.wake:
		case <-tick:
		case <-p.quit:
			return
		}
	}
}

// next returns the next record to propose. If there is none it returns nil, and after how
// long to look again although nothing happens; zero when no call waits.
func (p *proposer) next() (_ *proposal, _ raftApply, wait time.Duration) {
	now := p.watch.now()
	p.mu.Lock()
	var expired []queued
	if now-p.scanNS >= int64(expiryTick) {
		p.scanNS = now
		expired = p.expireLocked(now, expired)
	}
	var prop *proposal
	hold := time.Duration(0)
	switch {
	case p.term == 0:
	case !p.opened && !p.paused:
		p.opened = true
		prop = &proposal{opening: true}
	case p.ready && !p.paused && p.roomLocked():
		if hold = p.holdLocked(now); hold <= 0 {
			prop, expired = p.fillLocked(now, expired)
		}
	}
	r := p.raft
	if prop != nil {
		p.seq++
		prop.seq, prop.term, prop.sentNS = p.seq, p.term, now
		p.pace.sent(len(prop.calls), now)
		// It is added under the lock, so that the end of the term finds each call either
		// in flight or in the queue.
		p.inflight.add(prop)
	} else {
		if len(p.queue) > 0 {
			wait = expiryTick
			if hold > 0 {
				wait = min(wait, hold)
			}
		}
		p.idle = true
	}
	p.mu.Unlock()
	for i := range expired {
		expired[i].refuse(call.ErrTimeout)
	}
	return prop, r, wait
}

// roomLocked reports whether a record may be proposed now. A record's cost is fsyncs and
// messages, and a fuller one needs no more of them. So while one is under way, the next
// waits until it is full.
func (p *proposer) roomLocked() bool {
	n := p.inflight.len()
	return n == 0 || n < p.cfg.Limits.InFlight && p.bytes >= p.cfg.Limits.RecordBytes
}

// holdLocked returns for how long the queue is held back so that the record becomes
// fuller. Zero or less means not at all.
func (p *proposer) holdLocked(now int64) time.Duration {
	if len(p.queue) == 0 || p.bytes >= p.cfg.Limits.RecordBytes {
		return 0
	}
	return p.pace.hold(len(p.queue), now)
}

// fillLocked moves the head of the queue into a proposal. It returns nil when no call has
// time left. Calls that waited too long are appended to expired.
func (p *proposer) fillLocked(now int64, expired []queued) (*proposal, []queued) {
	size, n := recordHeaderLen, 0
	late := false
	for n < len(p.queue) && (n == 0 || size+p.queue[n].size <= p.cfg.Limits.RecordBytes) {
		size += p.queue[n].size
		late = late || p.queue[n].deadlineNS <= now
		n++
	}
	if n == 0 {
		return nil, expired
	}
	if late { // rare: the calls that have time left are tried again
		expired = p.expireLocked(now, expired)
		if len(p.queue) == 0 {
			return nil, expired
		}
		prop, _ := p.fillLocked(now, nil)
		return prop, expired
	}
	prop := &proposal{bytes: size}
	p.bytes -= size - recordHeaderLen
	if n == len(p.queue) {
		prop.calls, p.queue = p.queue, nil
		return prop, expired
	}
	prop.calls = append(make([]queued, 0, n), p.queue[:n]...)
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	return prop, expired
}

// expireLocked moves the calls that have waited too long from the queue to expired.
func (p *proposer) expireLocked(now int64, expired []queued) []queued {
	kept := p.queue[:0]
	for _, q := range p.queue {
		if q.deadlineNS > now {
			kept = append(kept, q)
		} else {
			expired = append(expired, q)
			p.bytes -= q.size
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	return expired
}

// encode returns the bytes of prop. Raft keeps them, so they are never reused.
func (p *proposer) encode(prop *proposal) []byte {
	if prop.bytes == 0 {
		prop.bytes = recordHeaderLen
	}
	data := appendRecordHeader(make([]byte, 0, prop.bytes), recordHeader{
		origin: p.inflight.origin, seq: prop.seq, term: prop.term,
		nowMS: p.clock.now(), calls: len(prop.calls),
	})
	for i := range prop.calls {
		c := prop.calls[i].call
		if a := prop.calls[i].attempt; a != nil {
			c = a.call
		}
		data = appendCall(data, c.Multi, c.Cmds)
	}
	p.counters.proposals.Add(1)
	p.counters.proposedBytes.Add(uint64(len(data)))
	return data
}

// lengths returns the size of the queue.
func (p *proposer) lengths() (calls, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue), p.bytes
}

// isReady reports whether the writes of term go out.
func (p *proposer) isReady(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term == term && p.ready && !p.paused
}
