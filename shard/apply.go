package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/internal/mutant"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/raftlog/disk"
	"millrace/resp"
)

// A shard's state holds its own position, under kv.SystemKey(first slot, 'a'): the last
// record of the log that was applied, and the shard's clock. The position is written in
// the same batch as the effects, so it is right after any crash.
//
//	 0         1       9      17
//	+---------+-------+------+---------+
//	| version | index | term | clockMS |
//	| u8 = 1  | u64   | u64  | i64     |
//	+---------+-------+------+---------+
const (
	appliedVersion = 1
	appliedLen     = 25
)

type applied struct {
	index, term uint64
	clockMS     int64
}

func (a applied) encode() []byte {
	b := append(make([]byte, 0, appliedLen), appliedVersion)
	b = binary.BigEndian.AppendUint64(b, a.index)
	b = binary.BigEndian.AppendUint64(b, a.term)
	return binary.BigEndian.AppendUint64(b, uint64(a.clockMS))
}

func decodeApplied(b []byte) (applied, error) {
	if len(b) != appliedLen || b[0] != appliedVersion {
		return applied{}, fmt.Errorf("applied index: %d bytes %x: %w", len(b), b, disk.ErrCorrupt)
	}
	return applied{
		index:   binary.BigEndian.Uint64(b[1:]),
		term:    binary.BigEndian.Uint64(b[9:]),
		clockMS: int64(binary.BigEndian.Uint64(b[17:])),
	}, nil
}

// errHalted is the error of a shard that met a record it cannot apply, and does nothing
// any more.
var errHalted = errors.New("shard: halted")

// applyObserver is told of the applier's progress, on the goroutine that applies.
type applyObserver interface {
	// opened says that the first record of a term that this replica leads was applied.
	opened(term uint64)
	// applied says that the records up to at were committed and their calls were answered.
	// Blocked calls on keys, or on every key if all is true, are worth a look. There may
	// be room for another record in flight.
	applied(at applied, keys [][]byte, all bool)
}

// applier is Raft's state machine: it runs records on the state, in batches, and answers
// the calls of the records that were proposed here. Each Raft instance, one after the
// other, calls its methods from one goroutine. Between instances the supervisor calls
// load, and install through snapshots.
type applier struct {
	*shared
	digests  *digester
	observer applyObserver

	now applied // the state's position; owned by the goroutine that applies

	halted atomic.Bool

	answers []answer // of the batch; reused
}

// maxRecordCost is the number of units after which the other calls of a record are not
// run, so that a record of a thousand expensive calls neither holds the shard nor fills the
// memory with replies. They are refused as not done, and come again in a later record. One
// call may spend what its own bound allows.
const maxRecordCost = 1 << 18

// answer is the replies of one record, given once the batch is committed.
type answer struct {
	proposal *proposal
	refusal  error // of the whole record; if it is nil, each call has its reply in one of the two slices
	replies  [][]byte
	values   []resp.Value
	ran      int // the calls from here on were not run; see maxRecordCost
}

func newApplier(sh *shared, d *digester, o applyObserver) *applier {
	return &applier{shared: sh, digests: d, observer: o}
}

// load reads the position from the state. Caches of an earlier state go.
func (a *applier) load() error {
	v, ok, err := pebblekv.Reader{R: a.cfg.State}.Get(a.appliedKey)
	if err != nil {
		return fmt.Errorf("shard %d: read the applied index: %w", a.cfg.ID, err)
	}
	var at applied
	if ok {
		if at, err = decodeApplied(v); err != nil {
			return fmt.Errorf("shard %d: %w", a.cfg.ID, err)
		}
	}
	a.now = at
	a.clock.observe(at.clockMS)
	a.cfg.Machine.Reset()
	a.gate.advance(at.index)
	return nil
}

// Apply implements raft.FSM. Raft uses ApplyBatch instead.
func (a *applier) Apply(l *raft.Log) any { return a.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. It skips records at or below the applied index:
// they were applied before a restart, or came with a snapshot. The responses are nil,
// because calls are answered directly.
func (a *applier) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	for len(logs) > 0 && !a.halted.Load() {
		n, err := a.applySome(logs)
		if err != nil {
			a.halt(err)
			break
		}
		logs = logs[n:]
	}
	return out
}

// halt stops applying for good, because nothing after a record that cannot be applied may
// be applied either. The process lives on for its other shards.
func (a *applier) halt(err error) {
	a.halted.Store(true)
	a.cfg.Machine.Reset()
	a.gate.shut(call.ErrStopping)
	a.haltShard(err)
}

// applySome applies records from the front of logs until the batch is full, commits the
// batch, and answers. It returns how many of logs are done.
func (a *applier) applySome(logs []*raft.Log) (n int, err error) {
	// A panic would come again at every start, on every replica. A halted shard leaves the
	// node's other shards alone.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errHalted, p, debug.Stack())
		}
	}()
	start := a.watch.now()
	for n < len(logs) && logs[n].Index <= a.now.index {
		a.noteConfig(logs[n]) // applied before a restart
		n++
	}
	if n == len(logs) {
		return n, nil
	}
	b := a.cfg.State.NewIndexedBatch()
	defer b.Close()
	a.answers = a.answers[:0]
	records, at, opened, err := a.fill(b, logs[n:])
	if err != nil {
		return 0, err
	}
	if err := a.commit(b, at); err != nil {
		return 0, err
	}
	a.counters.applied.Add(uint64(records))
	if m := a.cfg.Metrics; m != nil {
		m.Applied(records, time.Duration(a.watch.now()-start))
	}
	// The answers come first, and the look at blocked calls last: a blocked call whose
	// command found nothing must wait again by the time its key is looked at.
	a.giveAnswers()
	a.gate.advance(at.index)
	if opened != 0 {
		a.observer.opened(opened)
	}
	keys, all := a.cfg.Machine.Touched()
	a.observer.applied(at, keys, all)
	a.digests.applied(at.index)
	return n + records, nil
}

// fill runs records from the front of logs on b, until b holds Limits.ApplyBytes or a
// digest is due. It returns their number and the position after the last. opened is the
// term that one of them has opened for this replica, or 0.
func (a *applier) fill(b *pebble.Batch, logs []*raft.Log) (n int, at applied, opened uint64, err error) {
	at = a.now
	kv := pebblekv.NewBatch(b)
	for n < len(logs) && (n == 0 || b.Len() < a.cfg.Limits.ApplyBytes) {
		l := logs[n]
		n++
		at.index, at.term = l.Index, l.Term
		switch l.Type {
		case raft.LogCommand:
			opens, err := a.applyRecord(kv, &at, l)
			if err != nil {
				return 0, at, 0, fmt.Errorf("%w: record at index %d: %w", errHalted, l.Index, err)
			}
			if opens {
				opened = l.Term
			}
		case raft.LogConfiguration:
			a.noteConfig(l)
		}
		if a.digests.due(at.index) {
			break
		}
	}
	if err := a.cfg.Machine.Flush(kv); err != nil {
		return 0, at, 0, fmt.Errorf("%w: flush at index %d: %w", errHalted, at.index, err)
	}
	return n, at, opened, nil
}

// commit commits b together with the position that the state has reached by it.
func (a *applier) commit(b *pebble.Batch, at applied) error {
	if err := b.Set(a.appliedKey, at.encode(), nil); err != nil {
		return fmt.Errorf("%w: %w", errHalted, err)
	}
	// Not synced: the log is, and it is kept until the state is on disk too.
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("%w: commit at index %d: %w", errHalted, at.index, err)
	}
	a.cfg.Machine.Committed()
	a.now = at
	a.clock.observe(at.clockMS)
	return nil
}

// noteConfig notes a configuration. A configuration record is committed when it is
// applied.
func (a *applier) noteConfig(l *raft.Log) {
	if l.Type == raft.LogConfiguration {
		a.configs.add(l.Index, raft.DecodeConfiguration(l.Data))
	}
}

// applyRecord runs the calls of one record. It reports whether the record is the first of
// a term that this replica leads.
func (a *applier) applyRecord(kv kv.Batch, at *applied, l *raft.Log) (opens bool, err error) {
	r, err := decodeRecord(l.Data)
	if err != nil {
		return false, err
	}
	ours := a.inflight.get(r.origin, r.seq)
	if r.term != l.Term {
		// The record's author had stopped leading in the term that its calls were sent
		// for.
		if ours != nil {
			a.answers = append(a.answers, answer{proposal: ours, refusal: a.hint()})
		}
		return false, nil
	}
	at.clockMS = max(at.clockMS, r.nowMS)
	if mutant.ClockInApply {
		at.clockMS = a.cfg.Clock()
	}
	if ours != nil && len(ours.calls) != len(r.list) {
		return false, fmt.Errorf("%d calls in the record, %d wait", len(r.list), len(ours.calls))
	}
	var ans answer
	var buf []byte
	if ours != nil {
		ans = answer{proposal: ours, replies: make([][]byte, len(r.list)), values: make([]resp.Value, len(r.list))}
		buf = make([]byte, 0, 32*len(r.list))
	}
	cost := 0
	for i, c := range r.list {
		if cost > maxRecordCost {
			break
		}
		ans.ran = i + 1
		if mutant.AckOnLeaderOnly && ours == nil && isAck(a.cfg.Machine, c.cmds[0]) {
			continue
		}
		replies, refusal, err := a.cfg.Machine.Apply(kv, at.clockMS, c.cmds)
		if err != nil {
			return false, fmt.Errorf("call %d: %w", i, err)
		}
		if refusal == nil && len(replies) != len(c.cmds) {
			return false, fmt.Errorf("call %d: %d replies for %d commands", i, len(replies), len(c.cmds))
		}
		if m, ok := a.cfg.Machine.(Metered); ok {
			cost += m.Spent()
		}
		if ours == nil {
			continue // reply bytes are built only where a client waits for them
		}
		v := replyOf(c.multi, replies, refusal)
		if q := &ours.calls[i]; q.attempt != nil {
			ans.values[i] = v
		} else {
			from := len(buf)
			buf = resp.AppendValue(buf, v, int(q.call.Proto))
			ans.replies[i] = buf[from:len(buf):len(buf)]
		}
	}
	if ours != nil {
		a.answers = append(a.answers, ans)
	}
	a.counters.calls.Add(uint64(ans.ran))
	return ours != nil && ours.opening, nil
}

// isAck asks the machine whether a command acknowledges entries. Only the mutant
// AckOnLeaderOnly needs to know: the shard itself treats all commands alike.
func isAck(m Machine, argv [][]byte) bool {
	a, ok := m.(interface{ IsAck(argv [][]byte) bool })
	return ok && a.IsAck(argv)
}

// giveAnswers answers the calls of the committed batch, except those that the end of
// their term has answered.
func (a *applier) giveAnswers() {
	for i := range a.answers {
		ans := &a.answers[i]
		p := a.inflight.take(a.inflight.origin, ans.proposal.seq)
		if p == nil {
			continue // the term ended first, and its end has answered the calls with call.ErrInDoubt
		}
		if m := a.cfg.Metrics; m != nil && !p.opening {
			m.Committed(len(p.calls), p.bytes, time.Duration(a.watch.now()-p.sentNS))
		}
		for j := range p.calls {
			q := &p.calls[j]
			switch {
			case ans.refusal != nil:
				q.refuse(ans.refusal)
			case j >= ans.ran:
				q.refuse(call.ErrOverloaded)
			case q.attempt != nil:
				q.attempt.done(ans.values[j], nil)
			default:
				q.call.Done(call.Result{Reply: ans.replies[j]})
			}
		}
	}
	clear(a.answers)
}
