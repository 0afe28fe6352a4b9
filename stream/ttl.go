package stream

import (
	"millrace/command"
	"millrace/resp"
)

// TTL key: in how many seconds the name goes away, rounded; -1 where never, -2 where
// there is none.
var ttl = lifetime("ttl", "1.0.0", "Returns the expiration time in seconds of a key.",
	func(atMS, nowMS int64) int64 { return toSeconds(atMS - nowMS) })

// PTTL key: as TTL, in milliseconds.
var pttl = lifetime("pttl", "2.6.0", "Returns the expiration time in milliseconds of a key.",
	func(atMS, nowMS int64) int64 { return atMS - nowMS })

// EXPIRETIME key: as TTL, as a time in seconds since the Unix epoch.
var expiretime = lifetime("expiretime", "7.0.0", "Returns the expiration time of a key as a Unix timestamp.",
	func(atMS, _ int64) int64 { return toSeconds(atMS) })

// PEXPIRETIME key: as EXPIRETIME, in milliseconds.
var pexpiretime = lifetime("pexpiretime", "7.0.0", "Returns the expiration time of a key as a Unix milliseconds timestamp.",
	func(atMS, _ int64) int64 { return atMS })

// toSeconds rounds ms, which is not below zero, as Redis does.
func toSeconds(ms int64) int64 { return int64((uint64(ms) + 500) / 1000) }

// lifetime makes a command that answers a deadline in the form that show gives it.
func lifetime(name, since, summary string, show func(atMS, nowMS int64) int64) Command {
	var tips, history []string
	if name == "ttl" || name == "pttl" {
		tips = []string{"nondeterministic_output"} // what is left, not when
		history = []string{"2.8.0 Added the -2 reply."}
	}
	return Command{
		Command: command.Command{
			Name: name, Usage: "key", Tips: tips, History: history, Arity: 2, Flags: command.ReadOnly | command.Fast,
			Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
			Categories: []string{"keyspace", "read", "fast"},
			Since:      since, Group: "generic", Summary: summary, Complexity: "O(1)",
		},
		Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
			h, err := tx.head(argv[1])
			switch {
			case err != nil:
				return resp.Value{}, err
			case h == nil:
				return resp.Int(-2), nil
			case h.ExpireAtMS == 0:
				return resp.Int(-1), nil
			}
			return resp.Int(show(h.ExpireAtMS, tx.NowMS)), nil
		},
	}
}
