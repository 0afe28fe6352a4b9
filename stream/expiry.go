package stream

import (
	"fmt"
	"math"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// A name may have a deadline. Its head says when, and a key of the shard, drawn in
// key.go, names it in the order of deadlines. From that moment on every command finds
// nothing there: a write removes what is left, a read passes over it. Names that
// nobody asks for are removed by _EXPIRE, which the shard's leader proposes when Due
// says so: no replica removes anything by its own clock.

// One _EXPIRE ends after so many names, or once it has deleted about so many keys. The
// next one goes on.
const (
	expireMaxNames = 200
	expireMaxKeys  = 4096
)

// setDeadline makes h go away at atMS, which is to come, or never when it is zero. No
// other code changes a deadline, but for remove, which drops it.
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

// dropDeadline takes the deadline of h away, where it has one.
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

// Due returns the command that the leader of the shard is to propose at nowMS, or nil
// and when to ask again if nothing is applied before; zero is never.
func (s *State) Due(v kv.Reader, nowMS int64) (argv [][]byte, againMS int64, err error) {
	sys, err := loadSystem(v, s.firstSlot)
	if err != nil {
		return nil, 0, err
	}
	if sys.dueMS == 0 || sys.dueMS > nowMS {
		return nil, sys.dueMS, nil
	}
	return [][]byte{[]byte("_EXPIRE")}, 0, nil
}

// _EXPIRE: removes names whose deadlines have passed, the earliest first, and answers
// how many.
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
	// From the earliest deadline on: those before it are tombstones to crawl over.
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

// deadlineArg is a time to live as SET, GETEX and SETEX take it.
type deadlineArg struct {
	command  string // for the error text
	text     []byte // nil: none is given
	seconds  bool   // otherwise milliseconds
	relative bool   // to now; otherwise to the epoch
}

// at returns when it ends, in milliseconds since the Unix epoch; zero where none is
// given. The rule is Redis's getExpireMillisecondsOrReply. With nowMS zero it refuses
// what the words alone show to be wrong.
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
