package stream

import (
	"errors"
	"fmt"
	"math"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// maxCached bounds the decoded heads of a State. When there are more at the end of a batch,
// some are dropped and read again when commands need them.
const maxCached = 4096

// ErrUnknownCommand is the error of Apply for a command that is not in the table. A newer
// version proposed it. This replica must stop, because skipping the command would make its
// state differ from the state of replicas that know it.
var ErrUnknownCommand = errors.New("stream: unknown command in a record")

// State is the state machine of one shard: the names of a run of slots. It keeps changed
// heads in memory until Flush. Therefore many commands on one stream in a batch write its
// head only once.
//
// The goroutine that applies records owns a State: only it may call Apply, Flush, Committed,
// Reset and Touched. The other methods use no field that changes, and may run at the same
// time.
type State struct {
	firstSlot, lastSlot uint16

	cached  map[string]*Head // the decoded heads, by name
	dirty   []*Head          // heads that Flush has to write
	bulky   []*Head          // heads with maxGroupCached or more decoded groups and consumers
	sys     *system          // nil until loaded
	touched [][]byte         // names that Touched will return
	// touchedAll means that every name was touched, and the names in touched afterwards.
	touchedAll bool
	round      uint64   // number of calls of Touched, plus one
	idArena    []byte   // buffer of newID
	flushBuf   []byte   // buffer of Flush for keys and values
	lookups    *Lookups // of reads; nil: not counted
	tx         Tx       // of the call being applied; reused
}

// NewState returns the state machine of a shard with the slots firstSlot to lastSlot.
func NewState(firstSlot, lastSlot uint16) *State {
	return &State{firstSlot: firstSlot, lastSlot: lastSlot, cached: make(map[string]*Head), round: 1}
}

// Apply runs the commands of one call at nowMS: a single command, or all of an EXEC. It
// returns one reply for each command, or the refusal of the whole call, which then has
// changed nothing. After a Guard command that answers null, the other commands of the call
// are not run, and their replies are null. An error means that this replica cannot go on.
func (s *State) Apply(b kv.Batch, nowMS int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error) {
	if s.sys == nil {
		sys, err := loadSystem(b, s.firstSlot)
		if err != nil {
			return nil, nil, err
		}
		s.sys = sys
	}
	budget, undoable := budgetOf(cmds)
	var point savepoint
	if undoable {
		if point, err = s.save(b); err != nil {
			return nil, nil, err
		}
	}
	s.tx = Tx{
		NowMS: nowMS, firstSlot: s.firstSlot, lastSlot: s.lastSlot, kv: b, batch: b, state: s, budget: budget,
		keyBuf: s.tx.keyBuf, valueBuf: s.tx.valueBuf, unsettled: s.tx.unsettled[:0], loosened: s.tx.loosened[:0],
	}
	replies, err = s.run(cmds)
	if err == nil && s.tx.spent > budget {
		refusal = &errBudget
		if len(cmds) == 1 {
			refusal = &errLargeReply
		}
		return nil, refusal, s.undo(b, point)
	}
	return replies, nil, err
}

// Spent returns the units that the last call of Apply has spent; see budget.go.
func (s *State) Spent() int { return s.tx.spent }

// run runs the commands of a call, as far as its budget allows.
func (s *State) run(cmds [][][]byte) ([]resp.Value, error) {
	replies := make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		c, refusal := Lookup(argv)
		switch {
		case refusal != nil:
			replies[i] = *refusal
			continue
		case c == nil || c.Run == nil:
			return nil, fmt.Errorf("%w: %q", ErrUnknownCommand, command.Printable(argv[0], 64))
		}
		v, err := c.Run(&s.tx, argv)
		if errors.Is(err, errOverspent) {
			s.tx.spent = s.tx.budget + 1
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("stream: %s: %w", c.Name, err)
		}
		if err := s.tx.end(); err != nil {
			return nil, fmt.Errorf("stream: %s: %w", c.Name, err)
		}
		if !s.tx.spendOn(argv, &v) {
			return nil, nil
		}
		replies[i] = v
		if guardFails(c, v) {
			setNull(replies[i+1:])
			break
		}
	}
	return replies, nil
}

// Flush writes all changes that Apply kept in memory into b. The owner calls it once for a
// batch, before it commits the batch.
func (s *State) Flush(b kv.Batch) error {
	for _, h := range s.dirty {
		var err error
		if s.flushBuf, err = h.flush(b, s.flushBuf); err != nil {
			return fmt.Errorf("stream: write the head of %q: %w", h.Name, err)
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	if s.sys != nil && s.sys.dirty {
		if err := b.Set(kv.SystemKey(s.firstSlot, kv.SystemState), s.sys.encode()); err != nil {
			return err
		}
		s.sys.dirty = false
	}
	return nil
}

// Committed keeps the caches within their bounds after a commit. It drops decoded heads
// above maxCached, in any order, and the decoded groups of streams that have too many.
func (s *State) Committed() {
	for _, h := range s.bulky {
		h.groups, h.allGroups, h.groupsCached = nil, nil, 0
	}
	clear(s.bulky)
	s.bulky = s.bulky[:0]
	for name := range s.cached {
		if len(s.cached) <= maxCached {
			return
		}
		delete(s.cached, name)
	}
}

// Reset drops everything in memory, because the stored state was replaced by a snapshot.
func (s *State) Reset() {
	clear(s.cached)
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	clear(s.bulky)
	s.bulky = s.bulky[:0]
	s.sys = nil
	s.touched, s.touchedAll = nil, false
}

// Touched returns the names that commands touched since the last call, in that order.
// Calls that are blocked on them may now be ready. all means that every name was touched.
// The caller may keep the slice.
func (s *State) Touched() (names [][]byte, all bool) {
	names, all = s.touched, s.touchedAll
	s.touched, s.touchedAll = nil, false
	s.round++
	return names, all
}

// Read runs the commands of one call at nowMS on a view: a single reading command, or all
// of an EXEC that only reads. It returns one reply for each command, or the refusal of the
// whole call, as Apply does; replies behind a Guard that answered null are null.
func (s *State) Read(v kv.Reader, nowMS int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error) {
	tx := s.reading(v, nowMS)
	if len(cmds) > 1 {
		tx.budget = maxReadCost
	}
	replies = make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		tx.lookups, tx.waited = s.lookups, false
		c, v, err := tx.read(argv)
		if err != nil {
			return nil, nil, err
		}
		if !tx.spendOn(argv, &v) {
			return nil, &errReadBudget, nil
		}
		replies[i] = v
		if guardFails(c, v) {
			setNull(replies[i+1:])
			break
		}
	}
	return replies, nil, nil
}

// guardFails reports whether c is a Guard that has answered null.
func guardFails(c *Command, reply resp.Value) bool {
	return c != nil && c.Is(command.Guard) && reply.IsNull()
}

// setNull makes null the replies of the commands that a Guard has kept from running.
func setNull(replies []resp.Value) {
	for i := range replies {
		replies[i] = resp.Null()
	}
}

// read runs a reading command. c is nil when the words name none and are refused.
func (tx *Tx) read(argv [][]byte) (c *Command, out resp.Value, err error) {
	c, refusal := Lookup(argv)
	if refusal != nil {
		return nil, *refusal, nil
	}
	if c == nil || c.Run == nil || c.Is(command.Write) {
		return nil, resp.Value{}, fmt.Errorf("stream: %q is not a reading command", command.Printable(argv[0], 64))
	}
	if c.Is(command.Internal) {
		tx.lookups = nil
	}
	if out, err = c.Run(tx, argv); errors.Is(err, errOverspent) {
		tx.spent = tx.budget // with the command itself it is too much
		return c, out, nil
	}
	if err != nil {
		return nil, resp.Value{}, fmt.Errorf("stream: %s: %w", c.Name, err)
	}
	return c, out, nil
}

// reading returns the Tx of a reading command on v.
func (s *State) reading(v kv.Reader, nowMS int64) *Tx {
	return &Tx{NowMS: nowMS, firstSlot: s.firstSlot, lastSlot: s.lastSlot, kv: v, budget: math.MaxInt}
}
