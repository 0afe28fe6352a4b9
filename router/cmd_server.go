package router

import (
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// serverLine returns a line about the server.
func serverLine(name string, arity int, flags command.Flags, group, since, summary string, run handler) line {
	return line{cmd: command.Command{
		Name: name, Arity: arity, Flags: flags | command.Loading | command.Stale, Categories: categories(flags, ""),
		Since: since, Summary: summary, Complexity: "O(1)", Group: group,
	}, run: run}
}

// runningOnly takes away that a command may run while a server loads its data: Redis does
// not let it.
func runningOnly(l line) line {
	l.cmd.Flags &^= command.Loading | command.Stale
	return l
}

// loadedOnly takes away that a command may run while a server loads its data.
func loadedOnly(l line) line {
	l.cmd.Flags &^= command.Loading
	return l
}

// outsideMulti takes away that a command may be part of a transaction.
func outsideMulti(l line) line {
	l.cmd.Flags |= command.NoMulti
	return l
}

// refusal returns a handler that answers an error.
func refusal(text string) handler {
	return func(c *conn, q *request, _ [][]byte) { c.refuse(q, text) }
}

// badSubcommand is Redis's answer to a subcommand with a wrong number of words that its
// arity allows.
func badSubcommand(argv [][]byte) string {
	return "ERR unknown subcommand or wrong number of arguments for '" + string(cut(argv[1], maxEcho)) + "'. Try " +
		strings.ToUpper(string(cut(argv[0], maxEcho))) + " HELP."
}

// serverLines are the commands for those who run servers. What Millrace does by itself
// is answered as done, what it does not do is refused.
func serverLines() []line {
	const admin = command.Admin | command.NoScript
	ok := func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.OK) }
	server := func(name string, arity int, flags command.Flags, since, summary string, run handler) line {
		return serverLine(name, arity, flags, "server", since, summary, run)
	}
	notHere := func(usage string, arity int, since, why string) line {
		name, _, _ := strings.Cut(usage, " ")
		return server(usage, arity, admin, since, "Refused: "+why+".",
			refusal("ERR "+strings.ToUpper(name)+" is not supported by Millrace: "+why))
	}
	module := server("module", -2, 0, "4.0.0", "A container for module commands.", nil)
	module.cmd.Flags = 0
	noModules := refusal("ERR Millrace loads no modules")
	module.subs = []line{
		runningOnly(serverLine("list", 2, admin, "", "4.0.0", "Returns an empty array: there are no modules.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array()) })).tips("nondeterministic_output_order"),
		runningOnly(serverLine("load path [arg...]", -3, admin, "", "4.0.0", "Refused: Millrace loads no modules.", noModules)),
		runningOnly(serverLine("loadex path [CONFIG configs:(name value)]... [ARGS args:(arg)...]", -3, admin, "", "7.0.0", "Refused: Millrace loads no modules.", noModules)),
		runningOnly(serverLine("unload name", 3, admin, "", "4.0.0", "Refused: Millrace loads no modules.", noModules)),
		serverLine("help", 2, 0, "", "5.0.0", "Returns helpful text about the different subcommands.", help([]string{
			"MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"LIST", "    Return an empty array: there are no modules.", "HELP", "    Print this help.",
		})),
	}
	return []line{
		module,
		runningOnly(server("save", 1, admin|command.NoMulti, "1.0.0", "Answered as done: what was acknowledged is on disk on a majority of its shard's replicas.", ok)),
		runningOnly(server("bgsave [SCHEDULE]", -1, admin, "1.0.0", "Answered as begun: what was acknowledged is on disk on a majority of its shard's replicas.", runBgsave)).history(
			"3.2.2 Added the `SCHEDULE` option."),
		runningOnly(server("bgrewriteaof", 1, admin, "1.0.0", "Answered as begun: Millrace trims its logs by itself.",
			func(c *conn, q *request, _ [][]byte) {
				c.answer(q, resp.Simple("Background append only file rewriting started"))
			})),
		inCategories(server("lastsave", 1, command.Fast, "1.0.0", "Returns the time: what was acknowledged until now is on disk.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(time.Now().Unix())) }).tips("nondeterministic_output"), "admin", "fast", "dangerous"),
		server("shutdown nosave_save:[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", -1, admin|command.NoMulti, "1.0.0", "Stops this node in order, where --enable-shutdown says that clients may.", runShutdown).history(
			"7.0.0 Added the `NOW`, `FORCE` and `ABORT` modifiers."),
		loadedOnly(notHere("replicaof args:(host-port:(host port:int) | no-one:(NO ONE))", 3, "5.0.0", "shards are placed by the cluster itself; see: millrace status")),
		loadedOnly(notHere("slaveof args:(host-port:(host port:int) | no-one:(NO ONE))", 3, "1.0.0", "shards are placed by the cluster itself; see: millrace status")).deprecated("5.0.0 `REPLICAOF`"),
		loadedOnly(notHere("failover [TO target:(host port:int [FORCE])] [ABORT] [TIMEOUT milliseconds:int]", -1, "6.2.0", "every shard chooses its leader by itself; see: millrace status")),
		outsideMulti(runningOnly(notHere("sync", 1, "1.0.0", "replicas are Millrace nodes"))),
		outsideMulti(runningOnly(notHere("psync replicationid offset:int", -3, "2.8.0", "replicas are Millrace nodes"))),
		notHere("replconf", -1, "3.0.0", "replicas are Millrace nodes"),
		runningOnly(notHere("migrate host port:int key_or_empty_string:(key|empty_string=) destination-db:int timeout:int [COPY] [REPLACE] authentication:[[AUTH password]|[AUTH2 username_password:(username password)]] [KEYS key...]", -6, "2.6.0", "use DUMP and RESTORE")),
	}
}

// BGSAVE [SCHEDULE]
func runBgsave(c *conn, q *request, argv [][]byte) {
	if len(argv) > 2 || len(argv) == 2 && !command.IsWord(argv[1], "SCHEDULE") {
		c.refuse(q, textSyntax)
		return
	}
	c.answer(q, resp.Simple("Background saving started"))
}

// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]
//
// As with SIGTERM, leaderships move away first, and the connection is closed without a
// reply. Whatever the options say, nothing acknowledged is lost.
func runShutdown(c *conn, q *request, argv [][]byte) {
	save, nosave, abort := false, false, false
	for _, w := range argv[1:] {
		switch {
		case command.IsWord(w, "SAVE"):
			save = true
		case command.IsWord(w, "NOSAVE"):
			nosave = true
		case command.IsWord(w, "ABORT"):
			abort = true
		case command.IsWord(w, "NOW"), command.IsWord(w, "FORCE"):
		default:
			c.refuse(q, textSyntax)
			return
		}
	}
	switch {
	case save && nosave, abort && len(argv) > 2:
		c.refuse(q, textSyntax)
	case abort:
		c.refuse(q, "ERR No shutdown in progress.")
	case c.r.shutdown == nil:
		c.refuse(q, "ERR SHUTDOWN is not allowed: this node was started without --enable-shutdown")
	default:
		c.r.log.Warn("a client asked this node to stop", "client", c.addr)
		q.last = true
		c.answerBytes(q, nil)
		c.r.shutdown()
	}
}
