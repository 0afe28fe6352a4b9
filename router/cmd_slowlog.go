package router

import (
	"millrace/command"
	"millrace/resp"
)

// slowlogLines are SLOWLOG and its subcommands: the slow commands of this node.
func slowlogLines() []line {
	sub := func(name string, arity int, flags command.Flags, summary string, run handler) line {
		return serverLine(name, arity, flags, "", "2.2.12", summary, run)
	}
	slow := serverLine("slowlog", -2, 0, "server", "2.2.12", "A container for slow log commands.", nil)
	slow.cmd.Flags = 0
	slow.subs = []line{
		sub("get [count:int]", -2, command.Admin, "Returns the slow log's entries.", runSlowlogGet).tips("nondeterministic_output").history(
			"4.0.0 Added client IP address, port and name to the reply."),
		sub("len", 2, command.Admin, "Returns the number of entries in the slow log.", func(c *conn, q *request, _ [][]byte) {
			c.answer(q, resp.Int(int64(c.r.slowlog.len(int(c.r.settings.slowLen.Load())))))
		}).tips("nondeterministic_output"),
		sub("reset", 2, command.Admin, "Clears all entries from the slow log.", func(c *conn, q *request, _ [][]byte) {
			c.r.slowlog.reset()
			c.answer(q, resp.OK)
		}),
		serverLine("help", 2, 0, "", "6.2.0", "Returns helpful text about the different subcommands.", help(slowlogHelp)),
	}
	return []line{slow}
}

var slowlogHelp = []string{
	"SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET [<count>]",
	"    Return top <count> entries from the slowlog of this node (default: 10, -1 mean all).",
	"    Entries are made of:",
	"    id, timestamp, time in microseconds, arguments array, client IP and port,",
	"    client name",
	"LEN",
	"    Return the length of the slowlog.",
	"RESET",
	"    Reset the slowlog.",
	"HELP",
	"    Print this help.",
}

// defaultSlowCount is how many entries SLOWLOG GET returns when it is not told.
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
