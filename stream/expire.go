package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// EXPIRE key seconds [NX | XX | GT | LT]: makes a name go away after so long, and
// answers 1; 0 where there is no such name or a condition does not hold. A time that has
// passed makes it go at once.
var expire = expiring("expire", "seconds:int", true, true, "1.0.0", "Sets the expiration time of a key in seconds.")

// PEXPIRE key milliseconds [NX | XX | GT | LT]: as EXPIRE.
var pexpire = expiring("pexpire", "milliseconds:int", false, true, "2.6.0", "Sets the expiration time of a key in milliseconds.")

// EXPIREAT key unix-seconds [NX | XX | GT | LT]: as EXPIRE, at that time.
var expireat = expiring("expireat", "unix-time-seconds:time", true, false, "1.2.0", "Sets the expiration time of a key to a Unix timestamp.")

// PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]: as EXPIREAT.
var pexpireat = expiring("pexpireat", "unix-time-milliseconds:time", false, false, "2.6.0", "Sets the expiration time of a key to a Unix milliseconds timestamp.")

// Refusals of EXPIRE and its like.
var (
	errExpireNX   = resp.Err("ERR NX and XX, GT or LT options at the same time are not compatible")
	errExpireGTLT = resp.Err("ERR GT and LT options at the same time are not compatible")
)

// expireArgs is what the words of EXPIRE and its like say.
type expireArgs struct {
	nx, xx, gt, lt bool
	ms             int64 // from now, or since the Unix epoch; may be negative
}

// allows reports whether a name that goes away at oldMS, zero for never, may be made to
// go at atMS. Never is later than any time.
func (a *expireArgs) allows(oldMS, atMS int64) bool {
	switch {
	case a.nx && oldMS != 0, a.xx && oldMS == 0:
		return false
	case a.gt && (oldMS == 0 || atMS <= oldMS), a.lt && oldMS != 0 && atMS >= oldMS:
		return false
	}
	return true
}

func expiring(name, when string, seconds, relative bool, since, summary string) Command {
	return Command{
		Command: command.Command{
			Name: name, Arity: -3, Flags: command.Write | command.Fast,
			Usage:      "key " + when + " condition:[NX|XX|GT|LT]",
			History:    []string{"7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."},
			Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
			Categories: []string{"keyspace", "write", "fast"},
			Since:      since, Group: "generic", Summary: summary, Complexity: "O(1)",
			Check: func(argv [][]byte) *resp.Value {
				_, refusal := parseExpire(argv, name, seconds)
				return refusal
			},
		},
		Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
			a, refusal := parseExpire(argv, name, seconds)
			if refusal != nil {
				return *refusal, nil
			}
			if relative {
				if a.ms > math.MaxInt64-tx.NowMS {
					return *badExpireTime(name), nil
				}
				a.ms += tx.NowMS
			}
			return tx.expire(argv[1], &a)
		},
	}
}

// parseExpire reads the words of EXPIRE and its like.
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

// expire makes name go away at a.ms.
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
