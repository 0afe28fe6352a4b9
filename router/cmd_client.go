package router

import (
	"slices"

	"millrace/command"
	"millrace/resp"
)

// clientLine returns the line of a subcommand of CLIENT.
func clientLine(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
	return serverLine(usage, arity, flags|command.NoScript, since, summary, run).inCategories(categories(flags, "connection")...)
}

// clientLines are CLIENT and its subcommands: here those about the connection itself,
// in clientListLines those about other connections, and in trackingLines those about
// caching.
func clientLines() []line {
	own := []line{
		clientLine("id", 2, 0, "5.0.0", "Tells this connection's number, which no other connection of the node has.", runClientID),
		clientLine("getname", 2, 0, "2.6.9", "Tells which name this connection was given.", runClientGetName),
		clientLine("setname connection-name", 3, 0, "2.6.9", "Names this connection, for CLIENT LIST.", runClientSetName),
		clientLine("setinfo attr:(LIB-NAME libname | LIB-VER libver)", 4, 0, "7.2.0",
			"Notes which client library this connection uses, or its version.", runClientSetInfo),
		clientLine("no-touch enabled:(ON|OFF)", 3, 0, "7.2.0", "Accepted; Millrace keeps no access times.", runOnOff),
		clientLine("reply on_off_skip:(ON|OFF|SKIP)", 3, 0, "3.2.0", "Turns replies to this connection off, and on again.", runClientReply),
		helpLine("5.0.0", clientHelp).inCategories(categories(0, "connection")...),
	}
	return []line{container("client", "connection", "2.4.0", "Commands about client connections.",
		slices.Concat(own, clientListLines(), trackingLines())...)}
}

// clientHelp is the reply to CLIENT HELP.
var clientHelp = []string{
	"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CACHING (YES|NO)",
	"    Refused: no invalidations are sent, so nothing may be cached.",
	"GETREDIR",
	"    Answers 0 with tracking on and -1 without: invalidations go nowhere else.",
	"GETNAME",
	"    Tells the name that CLIENT SETNAME gave to this connection.",
	"ID",
	"    Tells this connection's number.",
	"INFO",
	"    Shows this connection as CLIENT LIST does.",
	"KILL <ip:port>",
	"    Ends the connection that comes from <ip:port>.",
	"KILL <option> <value> [<option> <value> [...]]",
	"    Ends the connections that match every option:",
	"    * ADDR <ip:port>, LADDR <ip:port>, ID <id>, TYPE <type>, USER <name>, MAXAGE <seconds>, SKIPME (YES|NO)",
	"LIST [TYPE <type>] [ID <id> ...]",
	"    Shows the connections to this node, one a line.",
	"NO-EVICT (ON|OFF)",
	"    Accepted without effect.",
	"NO-TOUCH (ON|OFF)",
	"    Accepted without effect.",
	"PAUSE <timeout> [WRITE|ALL]",
	"    Holds back all commands, or just writes, of this node's clients for <timeout> milliseconds.",
	"REPLY (ON|OFF|SKIP)",
	"    Sends no replies to this connection any more (OFF), or none to the next command (SKIP).",
	"SETINFO <option> <value>",
	"    Notes a fact about the client, for CLIENT LIST:",
	"    * LIB-NAME: the name of its library.",
	"    * LIB-VER: the version of its library.",
	"SETNAME <name>",
	"    Names this connection <name>.",
	"TRACKING (ON|OFF) [OPTIN] [NOLOOP]",
	"    Accepted without effect: no invalidations are sent. Other modes are refused.",
	"TRACKINGINFO",
	"    Tells which mode of tracking this connection asked for.",
	"UNBLOCK <clientid> [TIMEOUT|ERROR]",
	"    Ends the blocking call of another connection, as if its time were over or with an error.",
	"UNPAUSE",
	"    Ends a pause at once.",
	"HELP",
	"    Shows this list.",
}

const textBadName = "ERR Client names cannot contain spaces, newlines or special characters."

// CLIENT ID
func runClientID(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(int64(c.id))) }

// CLIENT GETNAME
func runClientGetName(c *conn, q *request, _ [][]byte) {
	c.mu.Lock()
	name := c.name
	c.mu.Unlock()
	if name == "" {
		c.answer(q, resp.Null())
		return
	}
	c.answer(q, resp.BulkString(name))
}

// CLIENT SETNAME connection-name
func runClientSetName(c *conn, q *request, argv [][]byte) {
	if !plainWord(argv[2]) {
		c.refuse(q, textBadName)
		return
	}
	c.mu.Lock()
	c.name = string(argv[2])
	c.mu.Unlock()
	c.answer(q, resp.OK)
}

// CLIENT SETINFO LIB-NAME|LIB-VER value
func runClientSetInfo(c *conn, q *request, argv [][]byte) {
	attr := string(cut(argv[2], maxEcho))
	isName := command.IsWord(argv[2], "LIB-NAME")
	if !isName && !command.IsWord(argv[2], "LIB-VER") {
		c.refuse(q, "ERR Unrecognized option '"+attr+"'")
		return
	}
	if !plainWord(argv[3]) {
		c.refuse(q, "ERR "+attr+" cannot contain spaces, newlines or special characters.")
		return
	}
	c.mu.Lock()
	if isName {
		c.libName = string(argv[3])
	} else {
		c.libVer = string(argv[3])
	}
	c.mu.Unlock()
	c.answer(q, resp.OK)
}

// CLIENT NO-EVICT and NO-TOUCH: ON|OFF
func runOnOff(c *conn, q *request, argv [][]byte) {
	if !command.IsWord(argv[2], "ON") && !command.IsWord(argv[2], "OFF") {
		c.refuse(q, textSyntax)
		return
	}
	c.answer(q, resp.OK)
}

// CLIENT REPLY ON|OFF|SKIP
func runClientReply(c *conn, q *request, argv [][]byte) {
	switch {
	case command.IsWord(argv[2], "ON"):
		c.mute, q.mute = muteNone, false
	case command.IsWord(argv[2], "OFF"):
		c.mute, q.mute = muteAll, true
	case command.IsWord(argv[2], "SKIP"):
		if c.mute != muteAll {
			c.mute = muteSkipNext
		}
		q.mute = true
	default:
		c.refuse(q, textSyntax)
		return
	}
	c.answer(q, resp.OK)
}
