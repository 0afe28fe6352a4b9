package router

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"millrace/command"
	"millrace/resp"
)

// aclLines are ACL and its subcommands. There is one user, "default", with every
// permission. Its password is set where a node is started.
func aclLines() []line {
	sub := func(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
		return serverLine(usage, arity, flags|command.NoScript, since, summary, run)
	}
	const oneUser, noFile = "Refused: there is one user.", "Refused: there is no ACL file."
	fixedUser := refusal("ERR ACL users are not supported by Millrace: the default user's password is set with --requirepass")
	return []line{container("acl", "server", "6.0.0", "Commands about the user and its permissions.",
		sub("whoami", 2, 0, "6.0.0", "Tells the user of this connection.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.BulkString("default")) }),
		sub("users", 2, command.Admin, "6.0.0", "Names the users: there is one.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array(resp.BulkString("default"))) }),
		sub("list", 2, command.Admin, "6.0.0", "Shows the rule of the user, without its password.", runACLList),
		sub("cat [categoryname]", -2, 0, "6.0.0", "Names the categories of commands, or the commands of one.", runACLCat).
			costs("O(N log N) for N commands."),
		sub("getuser username", 3, command.Admin, "6.0.0", "Shows the permissions of a user.", runACLGetUser).history(
			"6.2.0 Patterns of Pub/Sub channels are shown.",
			"7.0.0 Selectors are shown, and patterns as the rules that made them."),
		sub("genpass [bits:int]", -2, 0, "6.0.0", "Makes up a random password.", runACLGenPass),
		sub("log operation:[count:int|RESET]", -2, command.Admin, "6.0.0", "Lists refused commands and logins: none are kept.", runACLLog),
		sub("dryrun username command [arg...]", -4, command.Admin, "7.0.0", "Tells whether a user may run a command, without running it.", runACLDryRun),
		sub("setuser username [rule...]", -3, command.Admin, "6.0.0", oneUser, fixedUser),
		sub("deluser username...", -3, command.Admin, "6.0.0", oneUser, fixedUser),
		sub("load", 2, command.Admin, "6.0.0", noFile, fixedUser),
		sub("save", 2, command.Admin, "6.0.0", noFile, fixedUser),
		helpLine("6.0.0", aclHelp),
	)}
}

var aclHelp = []string{
	"ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CAT [<category>]",
	"    Names the commands of <category>, or the categories.",
	"DRYRUN <username> <command> [<arg> ...]",
	"    Tells whether a user may run a command, without running it.",
	"GETUSER <username>",
	"    Shows the permissions of a user.",
	"GENPASS [<bits>]",
	"    Makes up a random password of <bits> bits (default: 256).",
	"LIST",
	"    Shows the rule of the user, without its password.",
	"LOG [<count> | RESET]",
	"    Answers an empty array: refused commands and logins are not kept.",
	"USERS",
	"    Names the users: there is one.",
	"WHOAMI",
	"    Tells the user of this connection.",
	"HELP",
	"    Shows this list.",
}

// aclCategories are Redis's categories, in its order.
var aclCategories = []string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
	"pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
}

// ACL LIST. The rule shows neither the password nor its hash, against which guesses could
// be tried.
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
