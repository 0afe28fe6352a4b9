package router

import (
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// badSubcommand is Redis's answer to a subcommand with more words than it takes, which its
// arity (a minimum) does not show.
func badSubcommand(argv [][]byte) string {
	return "ERR unknown subcommand or wrong number of arguments for '" + string(cut(argv[1], maxEcho)) + "'. Try " +
		strings.ToUpper(string(cut(argv[0], maxEcho))) + " HELP."
}

// operator are the flags of commands for operators.
const operator = command.Admin | command.NoScript

// serverLines are the commands for operators. A command for work that Millrace does by
// itself is answered as done; one that means nothing here is refused.
func serverLines() []line {
	ok := func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.OK) }
	server := func(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
		return serverLine(usage, arity, flags, since, summary, run).inGroup("server")
	}
	own := []line{
		moduleLine(),
		server("save", 1, operator|command.NoMulti, "1.0.0",
			"Answered as done: every acknowledged write is on disk on a majority of its shard's replicas.", ok).runningOnly(),
		server("bgsave [SCHEDULE]", -1, operator, "1.0.0",
			"Answered as begun: every acknowledged write is on disk on a majority of its shard's replicas.", runBgsave).runningOnly().history(
			"3.2.2 Takes `SCHEDULE`."),
		server("bgrewriteaof", 1, operator, "1.0.0", "Answered as begun: Millrace trims its logs by itself.",
			func(c *conn, q *request, _ [][]byte) {
				c.answer(q, resp.Simple("Background append only file rewriting started"))
			}).runningOnly(),
		server("lastsave", 1, command.Fast, "1.0.0", "Answers the present time: what was acknowledged until now is on disk.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(time.Now().Unix())) }).
			tips("nondeterministic_output").inCategories("admin", "fast", "dangerous"),
		server("shutdown nosave_save:[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", -1, operator|command.NoMulti, "1.0.0",
			"Stops this node in order, where --enable-shutdown says that clients may.", runShutdown).history(
			"7.0.0 Takes `NOW`, `FORCE`, `ABORT`."),
	}
	return append(own, replicationLines()...)
}

// moduleLine is MODULE with its subcommands: Millrace loads none.
func moduleLine() line {
	const refused = "Refused: Millrace loads no modules."
	none := refusal("ERR Millrace loads no modules")
	return container("module", "server", "4.0.0", "Commands about modules, of which there are none.",
		serverLine("list", 2, operator, "4.0.0", "Answers an empty array: there are no modules.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array()) }).runningOnly().tips("nondeterministic_output_order"),
		serverLine("load path [arg...]", -3, operator, "4.0.0", refused, none).runningOnly(),
		serverLine("loadex path [CONFIG configs:(name value)]... [ARGS args:(arg)...]", -3, operator, "7.0.0", refused, none).runningOnly(),
		serverLine("unload name", 3, operator, "4.0.0", refused, none).runningOnly(),
		helpLine("5.0.0", []string{
			"MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"LIST", "    Answers an empty array: there are no modules.", "HELP", "    Shows this list.",
		}),
	)
}

// replicationLines are the commands that steer Redis's replication or move keys between
// servers. All are refused.
func replicationLines() []line {
	refused := func(usage string, arity int, since, why string) line {
		name, _, _ := strings.Cut(usage, " ")
		return serverLine(usage, arity, operator, since, "Refused: "+why+".",
			refusal("ERR "+strings.ToUpper(name)+" is not supported by Millrace: "+why)).inGroup("server")
	}
	const (
		placed  = "shards are placed by the cluster itself; see: millrace status"
		chosen  = "every shard chooses its leader by itself; see: millrace status"
		ownKind = "replicas are Millrace nodes"
	)
	return []line{
		refused("replicaof args:(host-port:(host port:int) | no-one:(NO ONE))", 3, "5.0.0", placed).loadedOnly(),
		refused("slaveof args:(host-port:(host port:int) | no-one:(NO ONE))", 3, "1.0.0", placed).loadedOnly().deprecated("5.0.0 `REPLICAOF`"),
		refused("failover [TO target:(host port:int [FORCE])] [ABORT] [TIMEOUT milliseconds:int]", -1, "6.2.0", chosen).loadedOnly(),
		refused("sync", 1, "1.0.0", ownKind).runningOnly().with(command.NoMulti),
		refused("psync replicationid offset:int", -3, "2.8.0", ownKind).runningOnly().with(command.NoMulti),
		refused("replconf", -1, "3.0.0", ownKind),
		refused("migrate host port:int key_or_empty_string:(key|empty_string=) destination-db:int timeout:int [COPY] [REPLACE] authentication:[[AUTH password]|[AUTH2 username_password:(username password)]] [KEYS key...]", -6, "2.6.0", "use DUMP and RESTORE").runningOnly(),
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
// reply. The options make no difference: no acknowledged write is ever lost.
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
