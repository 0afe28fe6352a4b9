package router

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"millrace/command"
	"millrace/resp"
)

// aclLines are ACL and its subcommands. There is one user, "default", who may do
// everything; whether it has a password is decided where a node is started.
func aclLines() []line {
	sub := func(name string, arity int, flags command.Flags, summary string, run handler) line {
		return serverLine(name, arity, flags|command.NoScript, "", "6.0.0", summary, run)
	}
	acl := serverLine("acl", -2, 0, "server", "6.0.0", "A container for Access List Control commands.", nil)
	acl.cmd.Flags = 0
	fixedUser := refusal("ERR ACL users are not supported by Millrace: the default user's password is set with --requirepass")
	dryRun := sub("dryrun username command [arg...]", -4, command.Admin, "Simulates the execution of a command by a user, without executing the command.", runACLDryRun)
	dryRun.cmd.Since = "7.0.0"
	acl.subs = []line{
		sub("whoami", 2, 0, "Returns the authenticated username of the current connection.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.BulkString("default")) }),
		sub("users", 2, command.Admin, "Lists all ACL users.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array(resp.BulkString("default"))) }),
		sub("list", 2, command.Admin, "Dumps the effective rules in ACL file format.", runACLList),
		sub("cat [categoryname]", -2, 0, "Lists the ACL categories, or the commands inside a category.", runACLCat),
		sub("getuser username", 3, command.Admin, "Lists the ACL rules of a user.", runACLGetUser).history(
			"6.2.0 Added Pub/Sub channel patterns.",
			"7.0.0 Added selectors and changed the format of key and channel patterns from a list to their rule representation."),
		sub("genpass [bits:int]", -2, 0, "Generates a pseudorandom, secure password that can be used to identify ACL users.", runACLGenPass),
		sub("log operation:[count:int|RESET]", -2, command.Admin, "Lists recent security events: none are kept.", runACLLog),
		dryRun,
		sub("setuser username [rule...]", -3, command.Admin, "Refused: there is one user.", fixedUser),
		sub("deluser username...", -3, command.Admin, "Refused: there is one user.", fixedUser),
		sub("load", 2, command.Admin, "Refused: there is no ACL file.", fixedUser),
		sub("save", 2, command.Admin, "Refused: there is no ACL file.", fixedUser),
		serverLine("help", 2, 0, "", "6.0.0", "Returns helpful text about the different subcommands.", help(aclHelp)),
	}
	return []line{acl}
}

var aclHelp = []string{
	"ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CAT [<category>]",
	"    List all commands that belong to <category>, or all command categories,",
	"    when no category is specified.",
	"DRYRUN <username> <command> [<arg> ...]",
	"    Returns whether the user can execute the given command without executing the command.",
	"GETUSER <username>",
	"    Get the user's details.",
	"GENPASS [<bits>]",
	"    Generate a secure 256-bit user password. The optional `bits` argument can",
	"    be used to specify a different size.",
	"LIST",
	"    Show users details in config file format, without passwords.",
	"LOG [<count> | RESET]",
	"    Show the ACL log entries: none are kept.",
	"USERS",
	"    List all the registered usernames.",
	"WHOAMI",
	"    Return the current connection username.",
	"HELP",
	"    Print this help.",
}

// aclCategories are Redis's, in its order.
var aclCategories = []string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
	"pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
}

// ACL LIST. A password is not shown, nor what could be tried against it.
func runACLList(c *conn, q *request, _ [][]byte) {
	rule := "user default on nopass ~* &* +@all"
	if c.r.password != nil {
		rule = "user default on ~* &* +@all"
	}
	c.answer(q, resp.Array(resp.BulkString(rule)))
}

// ACL CAT [category]
func runACLCat(c *conn, q *request, argv [][]byte) {
	var out []resp.Value
	if len(argv) > 3 {
		c.refuse(q, badSubcommand(argv))
		return
	}
	if len(argv) == 2 {
		for _, cat := range aclCategories {
			out = append(out, resp.BulkString(cat))
		}
		c.answer(q, resp.Array(out...))
		return
	}
	cat := strings.ToLower(string(cut(argv[2], maxEcho)))
	if !slices.Contains(aclCategories, cat) {
		c.refuse(q, "ERR Unknown category '"+string(cut(argv[2], maxEcho))+"'")
		return
	}
	for _, cmd := range c.r.sorted() {
		if len(cmd.Subcommands) == 0 && slices.Contains(cmd.Categories, cat) {
			out = append(out, resp.BulkString(cmd.Name))
		}
		for _, s := range cmd.Subcommands {
			if slices.Contains(s.Categories, cat) {
				out = append(out, resp.BulkString(s.Name))
			}
		}
	}
	c.answer(q, resp.Array(out...))
}

// ACL GETUSER username
func runACLGetUser(c *conn, q *request, argv [][]byte) {
	if string(argv[2]) != "default" {
		c.answer(q, resp.Null())
		return
	}
	text := resp.BulkString
	flags := []resp.Value{text("on")}
	if c.r.password == nil {
		flags = append(flags, text("nopass"))
	}
	c.answer(q, resp.Map(
		text("flags"), resp.Set(flags...), text("passwords"), resp.Array(), text("commands"), text("+@all"),
		text("keys"), text("~*"), text("channels"), text("&*"), text("selectors"), resp.Array()))
}

// ACL GENPASS [bits]
func runACLGenPass(c *conn, q *request, argv [][]byte) {
	bits := 256
	switch len(argv) {
	case 2:
	case 3:
		n, ok := command.ParseInt(argv[2])
		if !ok {
			c.refuse(q, textNotInt)
			return
		}
		if n <= 0 || n > 4096 {
			c.refuse(q, "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096")
			return
		}
		bits = int(n)
	default:
		c.refuse(q, badSubcommand(argv))
		return
	}
	digits := (bits + 3) / 4
	b := make([]byte, (digits+1)/2)
	_, _ = rand.Read(b) // never fails
	c.answer(q, resp.BulkString(hex.EncodeToString(b)[:digits]))
}

// ACL LOG [count|RESET]
func runACLLog(c *conn, q *request, argv [][]byte) {
	switch {
	case len(argv) > 3:
		c.refuse(q, badSubcommand(argv))
	case len(argv) == 3 && command.IsWord(argv[2], "RESET"):
		c.answer(q, resp.OK)
	default:
		if len(argv) == 3 {
			if _, ok := command.ParseInt(argv[2]); !ok {
				c.refuse(q, textNotInt)
				return
			}
		}
		c.answer(q, resp.Array())
	}
}

// ACL DRYRUN username command [arg …]
func runACLDryRun(c *conn, q *request, argv [][]byte) {
	if string(argv[2]) != "default" {
		c.refuse(q, "ERR User '"+string(cut(argv[2], maxEcho))+"' not found")
		return
	}
	cmd, refusal := c.r.table.Lookup(argv[3:])
	switch {
	case cmd == nil:
		c.refuse(q, "ERR Command '"+string(cut(argv[3], maxEcho))+"' not found")
	case refusal != nil:
		c.refuse(q, string(refusal.Str))
	default:
		c.answer(q, resp.OK)
	}
}
