package stream

import (
	"fmt"
	"math"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// A name may have a deadline. The deadline is in the head, and in a system key that orders
// all deadlines of the shard (drawn in key.go). From the deadline on, every command treats
// the name as missing: a write that meets it removes it, a read ignores it. Names that no
// command touches are removed by _EXPIRE. The shard's leader proposes it when Due says so,
// because a replica must not remove anything by its own clock.

// The bounds of one _EXPIRE: it ends after so many names, or once it has deleted about so
// many keys. The next _EXPIRE continues.
const (
	expireMaxNames = 200
	expireMaxKeys  = 4096
)

// setDeadline sets the deadline of h to atMS, which is in the future, or removes the
// deadline when atMS is zero. Only setDeadline and remove change a deadline.
func (tx *Tx) setDeadline(h *Head, atMS int64) error {
	if atMS == h.ExpireAtMS {
		return nil
	}
	if err := tx.dropDeadline(h); err != nil || atMS == 0 {
		return err
	}
	sys := tx.state.sys
	sys.expires++
	if sys.dueMS == 0 || atMS < sys.dueMS {
		sys.dueMS = atMS
	}
	sys.dirty = true
	h.ExpireAtMS = atMS
	tx.dirty(h)
	if err := tx.batch.Set(deadlineKey(tx.firstSlot, atMS, h.Name), nil); err != nil {
		return fmt.Errorf("put the deadline of %q: %w", h.Name, err)
	}
	return nil
}

// dropDeadline removes the deadline of h, if it has one.
func (tx *Tx) dropDeadline(h *Head) error {
	if h.ExpireAtMS == 0 {
		return nil
	}
	sys := tx.state.sys
	sys.expires--
	if sys.expires == 0 {
		sys.dueMS = 0
	}
	sys.dirty = true
	key := deadlineKey(tx.firstSlot, h.ExpireAtMS, h.Name)
	h.ExpireAtMS = 0
	tx.dirty(h)
	if err := tx.batch.Delete(key); err != nil {
		return fmt.Errorf("delete the deadline of %q: %w", h.Name, err)
	}
	return nil
}

// Due returns the command that the shard's leader should propose at nowMS. When there is
// nothing to propose, argv is nil and againMS is the time of the earliest deadline, or zero
// when there is none. The leader asks again then, and after each applied record.
func (s *State) Due(v kv.Reader, nowMS int64) (argv [][]byte, againMS int64, err error) {
	sys, err := loadSystem(v, s.firstSlot)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case sys.dueMS != 0 && sys.dueMS <= nowMS:
		return [][]byte{[]byte("_EXPIRE")}, 0, nil
	case sys.cleanups > 0:
		return [][]byte{[]byte("_CLEANUP")}, 0, nil
	}
	return nil, sys.dueMS, nil
}

// _EXPIRE: removes names whose deadlines have passed, the earliest first, and answers
// their number.
var expireCmd = Command{
	Command: command.Command{
		Name: "_expire", Arity: 1, Flags: command.Write | command.Internal, Group: "generic",
		Summary: "Removes names whose deadlines have passed.",
	},
	Run: runExpireDue,
}

func runExpireDue(tx *Tx, _ [][]byte) (resp.Value, error) {
	sys := tx.state.sys
	if sys.dueMS == 0 || sys.dueMS > tx.NowMS {
		return resp.Int(0), nil
	}
	names, keys, nextMS := 0, uint64(0), int64(0)
	// The scan starts at the earliest deadline. It would have to skip tombstones before it.
	lo, hi := deadlineBounds(tx.firstSlot, sys.dueMS)
	err := tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
		atMS, name := deadlineOfKey(key)
		if atMS > tx.NowMS || names == expireMaxNames || keys >= expireMaxKeys {
			nextMS = atMS
			return false, nil
		}
		h, err := tx.loadHead(name)
		if err == nil && (h == nil || h.ExpireAtMS != atMS) {
			err = fmt.Errorf("stream: %s is of no name", PrintKey(key))
		}
		if err != nil {
			return false, err
		}
		names++
		if h.small() {
			keys += h.keyCount()
		}
		return true, tx.remove(h)
	})
	sys.dueMS, sys.dirty = nextMS, true
	return resp.Int(int64(names)), err
}

// deadlineArg is a time to live among the words of SET, GETEX, SETEX and PSETEX.
type deadlineArg struct {
	command  string // for the error text
	text     []byte // nil: none was given
	seconds  bool   // otherwise milliseconds
	relative bool   // to now; otherwise to the Unix epoch
}

// at returns the deadline in milliseconds since the Unix epoch, or zero when none was
// given. The rule is Redis's: getExpireMillisecondsOrReply in redis src/t_string.c. A
// command's Check, which has no clock, passes zero for nowMS: then at refuses only times
// that are wrong at any time.
func (a *deadlineArg) at(nowMS int64) (int64, *resp.Value) {
	if a.text == nil {
		return 0, nil
	}
	n, ok := command.ParseInt(a.text)
	switch {
	case !ok:
		return 0, &command.ErrNotInteger
	case n <= 0 || a.seconds && n > math.MaxInt64/1000:
		return 0, badExpireTime(a.command)
	}
	if a.seconds {
		n *= 1000
	}
	if a.relative {
		if n > math.MaxInt64-nowMS {
			return 0, badExpireTime(a.command)
		}
		n += nowMS
	}
	return n, nil
}

func badExpireTime(command string) *resp.Value {
	e := resp.Err("ERR invalid expire time in '" + command + "' command")
	return &e
}
