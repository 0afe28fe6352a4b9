package stream

import (
	"errors"
	"fmt"
	"math"

	"millrace/command"
	"millrace/internal/mutant"
	"millrace/kv"
	"millrace/resp"
)

// A call in a record has a budget, because every replica runs it while the whole shard
// waits, and again after a restart. All replicas count alike: only what follows from the
// record and the state counts, never time, caches or memory in use.
//
// One unit is a step of a microsecond or two: a command, four of its words, an entry or
// element that it walks over, or 128 bytes of memory of a reply. For example, an EXEC of an XADD with
// five words and an XRANGE of 1,000 small entries spends (1+2) + (1+1+4,000) units.
//
// A call that spends more is undone as a whole and refused. A command that alone could spend
// more ends its reply early, or refuses, by its own bound.
const (
	maxCallCost   = 1 << 16 // of a call in a record: at most 8 MiB of replies
	maxLargeCost  = 1 << 18 // of a Large command in a record that is no EXEC: at most 32 MiB of replies
	maxReadCost   = 1 << 19 // of an EXEC that only reads, on one view: at most 64 MiB of replies
	replyUnit     = 128     // bytes
	wordsUnit     = 4
	maxReplyBytes = maxCallCost * replyUnit // of all replies of a call in a record
)

// errBudget refuses a call that spends more than maxCallCost. Clients know EXECABORT as
// the error of an EXEC of which nothing was done.
var (
	errBudget = resp.Err(fmt.Sprintf("EXECABORT Transaction discarded because it needs more than %d steps or %d MiB of replies; "+
		"send it in parts, or read without MULTI", maxCallCost, maxReplyBytes>>20))
	errLargeReply = resp.Err(fmt.Sprintf("ERR the reply would take more than %d MiB of memory; name fewer IDs at a time", maxLargeCost*replyUnit>>20))
	errReadBudget = resp.Err(fmt.Sprintf("EXECABORT Transaction discarded because its replies need more than %d MiB; "+
		"send it in parts", maxReadCost*replyUnit>>20))
)

// errOverspent is the error of a command that would spend more than the budget of its call.
var errOverspent = errors.New("stream: the budget of the call is spent")

// spend takes n units, and reports whether the budget allows them.
func (tx *Tx) spend(n int) bool {
	tx.spent += n
	return tx.spent <= tx.budget
}

// step takes n units for a part of a walk. It returns errOverspent if the budget does not
// allow them, so that no command goes on with a walk that was cut short: it might find fewer
// records than a count says, and take the state for damaged.
func (tx *Tx) step(n int) error {
	if !tx.spend(n) {
		return errOverspent
	}
	return nil
}

// spendOn takes the units of a command that has answered reply.
func (tx *Tx) spendOn(argv [][]byte, reply *resp.Value) bool {
	return tx.spend(1 + len(argv)/wordsUnit + replyMemory(reply)/replyUnit)
}

// removalUnit is the number of former removals of a name that cost one unit.
const removalUnit = 4

// spendRemoval takes the units for the removal of a name. A batch keeps the records of every
// earlier value of the name, and a scan for the present ones crosses them all. So a name that
// is created and removed n times in one EXEC costs about n² steps.
func (tx *Tx) spendRemoval(h *Head) {
	if tx.budget == math.MaxInt {
		return
	}
	if tx.removals == nil {
		tx.removals = make(map[string]int)
	}
	n := tx.removals[string(h.Name)]
	tx.removals[string(h.Name)] = n + 1
	tx.spend(n / removalUnit)
}

// room returns the bytes of memory that the reply of the command that runs may take: most,
// or less if the budget of the call has less left.
func (tx *Tx) room(most int) int { return min(most/replyUnit, max(tx.budget-tx.spent, 0)) * replyUnit }

// tooLarge refuses a reply that takes more than tx.room. Within a budget the whole call is
// refused.
func (tx *Tx) tooLarge(refusal *resp.Value) (*resp.Value, error) {
	if tx.budget < math.MaxInt {
		return nil, errOverspent
	}
	return refusal, nil
}

// replyMemory returns about how many bytes of memory a reply takes. All replicas get the
// same number.
func replyMemory(v *resp.Value) int {
	n := len(v.Str)
	for i := range v.Elems {
		n += valueBytes + replyMemory(&v.Elems[i])
	}
	return n
}

// savepoint is the state of a batch before a call that may have to be undone.
type savepoint struct {
	mark       kv.Mark
	touched    [][]byte
	touchedAll bool
}

// save writes the changes in memory into b, so that the call about to run can be undone.
func (s *State) save(b kv.Batch) (savepoint, error) {
	if err := s.Flush(b); err != nil {
		return savepoint{}, err
	}
	return savepoint{b.Mark(), s.touched, s.touchedAll}, nil
}

// undo takes b back to p. The caches hold what the call has changed, so they are dropped.
func (s *State) undo(b kv.Batch, p savepoint) error {
	if !mutant.UndoKeepsCache {
		s.Reset()
	}
	s.touched, s.touchedAll = p.touched, p.touchedAll
	return b.Undo(p.mark)
}

// budgetOf returns the units that a call in a record may spend, and whether it may have to
// be undone: an EXEC, or a command with a large reply.
func budgetOf(cmds [][][]byte) (units int, undoable bool) {
	if len(cmds) > 1 {
		return maxCallCost, true
	}
	if c, _ := Lookup(cmds[0]); c != nil && c.Is(command.Large) {
		return maxLargeCost, true
	}
	return math.MaxInt, false
}
