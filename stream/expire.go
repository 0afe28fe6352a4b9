package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// EXPIRE key seconds [NX | XX | GT | LT]: sets the deadline of a name to that many seconds
// from now, and answers 1. It answers 0 when there is no such name or the condition does not
// hold. A deadline that has passed removes the name at once.
var expire = expiring(timeForm{seconds: true, relative: true}, command.Command{
	Name: "expire", Usage: "key seconds:int condition:[NX|XX|GT|LT]", Since: "1.0.0",
	Summary: "Lets a key live for so many more seconds.",
})

// PEXPIRE key milliseconds [NX | XX | GT | LT]: does the same as EXPIRE, in milliseconds.
var pexpire = expiring(timeForm{relative: true}, command.Command{
	Name: "pexpire", Usage: "key milliseconds:int condition:[NX|XX|GT|LT]", Since: "2.6.0",
	Summary: "Lets a key live for so many more milliseconds.",
})

// EXPIREAT key unix-seconds [NX | XX | GT | LT]: does the same as EXPIRE, with a time since
// the Unix epoch.
var expireat = expiring(timeForm{seconds: true}, command.Command{
	Name: "expireat", Usage: "key unix-time-seconds:time condition:[NX|XX|GT|LT]", Since: "1.2.0",
	Summary: "Lets a key live until a time, in seconds since the Unix epoch.",
})

// PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]: does the same as EXPIREAT, in
// milliseconds.
var pexpireat = expiring(timeForm{}, command.Command{
	Name: "pexpireat", Usage: "key unix-time-milliseconds:time condition:[NX|XX|GT|LT]", Since: "2.6.0",
	Summary: "Lets a key live until a time, in milliseconds since the Unix epoch.",
})

// timeForm says how a word gives a time.
type timeForm struct {
	seconds  bool // otherwise milliseconds
	relative bool // from now; otherwise from the Unix epoch
}

// Refusals of the EXPIRE family.
var (
	errExpireNX   = resp.Err("ERR NX and XX, GT or LT options at the same time are not compatible")
	errExpireGTLT = resp.Err("ERR GT and LT options at the same time are not compatible")
)

// expireArgs holds the arguments of a command of the EXPIRE family.
type expireArgs struct {
	nx, xx, gt, lt bool
	ms             int64 // from now, or since the Unix epoch; may be negative
}

// allows reports whether the condition lets the deadline of a name change from oldMS to atMS.
// A zero oldMS means no deadline, which GT and LT treat as later than any time: on a name
// without a deadline, GT never changes anything and LT always does.
func (a *expireArgs) allows(oldMS, atMS int64) bool {
	switch {
	case a.nx && oldMS != 0, a.xx && oldMS == 0:
		return false
	case a.gt && (oldMS == 0 || atMS <= oldMS), a.lt && oldMS != 0 && atMS >= oldMS:
		return false
	}
	return true
}

// expiring returns a command of the EXPIRE family. c gives the parts of its description in
// which the commands differ; form says how its first argument gives the time.
func expiring(form timeForm, c command.Command) Command {
	c.Arity, c.Flags = -3, command.Write|command.Fast
	c.History = []string{"7.0.0 Four conditions are new: `GT`, `LT`, `NX`, `XX`."}
	c.Keys = command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"}
	c.Categories = []string{"keyspace", "write", "fast"}
	c.Group, c.Complexity = "generic", "O(1)"
	c.Check = func(argv [][]byte) *resp.Value {
		_, refusal := parseExpire(argv, c.Name, form.seconds)
		return refusal
	}
	run := func(tx *Tx, argv [][]byte) (resp.Value, error) {
		a, refusal := parseExpire(argv, c.Name, form.seconds)
		if refusal != nil {
			return *refusal, nil
		}
		if form.relative {
			if a.ms > math.MaxInt64-tx.NowMS {
				return *badExpireTime(c.Name), nil
			}
			a.ms += tx.NowMS
		}
		return tx.expire(argv[1], &a)
	}
	return Command{Command: c, Run: run}
}

// parseExpire reads the arguments of the command name of the EXPIRE family.
func parseExpire(argv [][]byte, name string, seconds bool) (a expireArgs, refusal *resp.Value) {
	for _, w := range argv[3:] {
		switch {
		case command.IsWord(w, "NX"):
			a.nx = true
		case command.IsWord(w, "XX"):
			a.xx = true
		case command.IsWord(w, "GT"):
			a.gt = true
		case command.IsWord(w, "LT"):
			a.lt = true
		default:
			e := resp.Err("ERR Unsupported option " + inText(w))
			return a, &e
		}
	}
	if a.nx && (a.xx || a.gt || a.lt) {
		return a, &errExpireNX
	}
	if a.gt && a.lt {
		return a, &errExpireGTLT
	}
	ms, ok := command.ParseInt(argv[2])
	if !ok {
		return a, &command.ErrNotInteger
	}
	if seconds {
		if ms > math.MaxInt64/1000 || ms < math.MinInt64/1000 {
			return a, badExpireTime(name)
		}
		ms *= 1000
	}
	a.ms = ms
	return a, nil
}

// expire sets the deadline of name to a.ms, if the condition of a allows it.
func (tx *Tx) expire(name []byte, a *expireArgs) (resp.Value, error) {
	h, err := tx.head(name)
	switch {
	case err != nil:
		return resp.Value{}, err
	case h == nil || !a.allows(h.ExpireAtMS, a.ms):
		return resp.Int(0), nil
	case a.ms <= tx.NowMS:
		return resp.Int(1), tx.remove(h)
	}
	tx.modified(h)
	return resp.Int(1), tx.setDeadline(h, a.ms)
}
