package router

import (
	"millrace/command"
	"millrace/resp"
)

// slowlogLines are SLOWLOG and its subcommands: the slow commands of this node.
func slowlogLines() []line {
	return []line{container("slowlog", "server", "2.2.12", "Commands about the log of slow commands.",
		serverLine("get [count:int]", -2, command.Admin, "2.2.12", "Shows slow commands, the newest first.", runSlowlogGet).
			costs("O(N) for N commands in the reply.").tips("nondeterministic_output").history(
			"4.0.0 Each entry tells the client's address and name."),
		serverLine("len", 2, command.Admin, "2.2.12", "Counts the commands in the slow log.", func(c *conn, q *request, _ [][]byte) {
			c.answer(q, resp.Int(int64(c.r.slowlog.len(int(c.r.settings.slowLen.Load())))))
		}).tips("nondeterministic_output"),
		serverLine("reset", 2, command.Admin, "2.2.12", "Empties the slow log.", func(c *conn, q *request, _ [][]byte) {
			c.r.slowlog.reset()
			c.answer(q, resp.OK)
		}).costs("O(N) for N commands in the slow log."),
		helpLine("6.2.0", slowlogHelp),
	)}
}

var slowlogHelp = []string{
	"SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET [<count>]",
	"    Shows up to <count> slow commands of this node, the newest first (default: 10; -1: all).",
	"    Each entry has a number, the time in seconds, the duration in microseconds, the words",
	"    of the command, and the client's address and name.",
	"LEN",
	"    Counts the commands in the slow log.",
	"RESET",
	"    Empties the slow log.",
	"HELP",
	"    Shows this list.",
}

// defaultSlowCount is how many entries SLOWLOG GET returns without a count.
const defaultSlowCount = 10

// SLOWLOG GET [count]
func runSlowlogGet(c *conn, q *request, argv [][]byte) {
	count := int64(defaultSlowCount)
	switch len(argv) {
	case 2:
	case 3:
		var ok bool
		if count, ok = command.ParseInt(argv[2]); !ok || count < -1 {
			c.refuse(q, "ERR count should be greater than or equal to -1")
			return
		}
	default:
		c.refuse(q, badSubcommand(argv))
		return
	}
	var out []resp.Value
	for _, e := range c.r.slowlog.newest(int(count), int(c.r.settings.slowLen.Load())) {
		words := make([]resp.Value, len(e.argv))
		for i, w := range e.argv {
			words[i] = resp.BulkString(w)
		}
		out = append(out, resp.Array(resp.Int(e.id), resp.Int(e.at.Unix()), resp.Int(e.micros), resp.Array(words...),
			resp.BulkString(e.addr), resp.BulkString(e.name)))
	}
	c.answer(q, resp.Array(out...))
}
