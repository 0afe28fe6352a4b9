package stream

import (
	"millrace/command"
	"millrace/resp"
)

// TTL key: answers the time until the deadline of a name, in seconds and rounded. It answers
// -1 when the name has no deadline, and -2 when there is no such name.
var ttl = lifetime(command.Command{
	Name: "ttl", Since: "1.0.0", Tips: ttlTips, History: ttlHistory,
	Summary: "Answers the seconds that a key has left to live.",
}, func(atMS, nowMS int64) int64 { return toSeconds(atMS - nowMS) })

// PTTL key: does the same as TTL, in milliseconds.
var pttl = lifetime(command.Command{
	Name: "pttl", Since: "2.6.0", Tips: ttlTips, History: ttlHistory,
	Summary: "Answers the milliseconds that a key has left to live.",
}, func(atMS, nowMS int64) int64 { return atMS - nowMS })

// EXPIRETIME key: answers the deadline itself, in seconds since the Unix epoch, otherwise
// like TTL.
var expiretime = lifetime(command.Command{
	Name: "expiretime", Since: "7.0.0",
	Summary: "Answers a deadline, in seconds since the Unix epoch.",
}, func(atMS, _ int64) int64 { return toSeconds(atMS) })

// PEXPIRETIME key: does the same as EXPIRETIME, in milliseconds.
var pexpiretime = lifetime(command.Command{
	Name: "pexpiretime", Since: "7.0.0",
	Summary: "Answers a deadline, in milliseconds since the Unix epoch.",
}, func(atMS, _ int64) int64 { return atMS })

// The parts of a description that only TTL and PTTL have. Their answers depend on the clock.
var (
	ttlTips    = []string{"nondeterministic_output"}
	ttlHistory = []string{"2.8.0 A missing key is answered -2."}
)

// toSeconds rounds ms, which must not be negative, half up as Redis does: 1500 is 2.
func toSeconds(ms int64) int64 { return int64((uint64(ms) + 500) / 1000) }

// lifetime returns a command of the TTL family. c gives the parts of its description in which
// the commands differ; show returns the answer for a name with a deadline.
func lifetime(c command.Command, show func(atMS, nowMS int64) int64) Command {
	c.Usage, c.Arity, c.Flags = "key", 2, command.ReadOnly|command.Fast
	c.Keys = command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"}
	c.Categories = []string{"keyspace", "read", "fast"}
	c.Group, c.Complexity = "generic", "O(1)"
	run := func(tx *Tx, argv [][]byte) (resp.Value, error) {
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
	}
	return Command{Command: c, Run: run}
}
