package router

import (
	"bytes"
	"slices"
	"strings"

	"millrace/resp"
	"millrace/stream"
)

// commandLines are COMMAND and its subcommands: what clients ask to learn which
// commands there are and where their keys stand. All answers come from the table
// that routes.
func commandLines() []line {
	sub := func(name string, arity int, since, summary string, run handler) line {
		return line{cmd: stream.Command{
			Name: name, Arity: arity, Flags: stream.Loading | stream.Stale, Categories: categories(0, "connection"),
			Since: since, Summary: summary, Complexity: "O(N) where N is the number of commands.",
		}, run: run}
	}
	return []line{{
		cmd: stream.Command{Name: "command", Arity: -1, Flags: stream.Loading | stream.Stale, Categories: categories(0, "connection"),
			Since: "2.8.13", Summary: "Returns detailed information about all commands.",
			Complexity: "O(N) where N is the total number of commands.", Group: "server"},
		run: runCommand,
		subs: []line{
			sub("count", 2, "2.8.13", "Returns a count of commands.", runCommandCount),
			sub("list", -2, "7.0.0", "Returns a list of command names.", runCommandList),
			sub("info", -2, "2.8.13", "Returns information about one, multiple or all commands.", runCommandInfo),
			sub("docs", -2, "7.0.0", "Returns documentary information about one, multiple or all commands.", runCommandDocs),
			sub("getkeys", -3, "2.8.13", "Extracts the key names from an arbitrary command.", runCommandGetKeys),
			sub("getkeysandflags", -3, "7.0.0", "Extracts the key names and access flags for an arbitrary command.", runCommandGetKeys),
			sub("help", 2, "5.0.0", "Returns helpful text about the different subcommands.", help(commandHelp)),
		},
	}}
}

var commandHelp = []string{
	"COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"(no subcommand)",
	"    Return details about all commands.",
	"COUNT",
	"    Return the total number of commands in this server.",
	"LIST [FILTERBY (MODULE <name> | ACLCAT <cat> | PATTERN <pattern>)]",
	"    Return a list of all commands in this server.",
	"INFO [<command-name> ...]",
	"    Return details about multiple commands, or about all.",
	"DOCS [<command-name> ...]",
	"    Return documentation details about multiple commands, or about all.",
	"GETKEYS <full-command>",
	"    Return the keys from a full command.",
	"GETKEYSANDFLAGS <full-command>",
	"    Return the keys and the access flags from a full command.",
	"HELP",
	"    Print this help.",
}

// sorted returns all commands by name.
func (r *Router) sorted() []*stream.Command {
	out := make([]*stream.Command, 0, len(r.table))
	for _, cmd := range r.table {
		out = append(out, cmd)
	}
	slices.SortFunc(out, func(a, b *stream.Command) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// named returns the command with a name, which may be "xgroup|create"; nil if none.
func (r *Router) named(name []byte) *stream.Command {
	word, sub, isSub := strings.Cut(strings.ToLower(string(cut(name, maxEcho))), "|")
	cmd := r.table[word]
	if cmd == nil || !isSub {
		return cmd
	}
	for _, s := range cmd.Subcommands {
		if s.Name == word+"|"+sub {
			return s
		}
	}
	return nil
}

// COMMAND
func runCommand(c *conn, q *request, _ [][]byte) {
	var out []resp.Value
	for _, cmd := range c.r.sorted() {
		out = append(out, commandInfo(cmd))
	}
	c.answer(q, resp.Array(out...))
}

// COMMAND COUNT
func runCommandCount(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(int64(len(c.r.table)))) }

// COMMAND INFO [name …]
func runCommandInfo(c *conn, q *request, argv [][]byte) {
	if len(argv) == 2 {
		runCommand(c, q, argv)
		return
	}
	var out []resp.Value
	for _, name := range argv[2:] {
		if cmd := c.r.named(name); cmd != nil {
			out = append(out, commandInfo(cmd))
		} else {
			out = append(out, resp.Null())
		}
	}
	c.answer(q, resp.Array(out...))
}

// flagNames are the names of flags, in Redis's order.
var flagNames = []struct {
	flag stream.Flags
	name string
}{
	{stream.Write, "write"}, {stream.ReadOnly, "readonly"}, {stream.DenyOOM, "denyoom"}, {stream.Admin, "admin"},
	{stream.NoScript, "noscript"}, {stream.Blocking, "blocking"}, {stream.Loading, "loading"}, {stream.Stale, "stale"},
	{stream.Fast, "fast"}, {stream.NoAuth, "no_auth"}, {stream.MovableKeys, "movablekeys"},
}

// commandInfo is a command's element of COMMAND INFO.
func commandInfo(cmd *stream.Command) resp.Value {
	var flags, cats, subs []resp.Value
	for _, f := range flagNames {
		if cmd.Is(f.flag) {
			flags = append(flags, resp.Simple(f.name))
		}
	}
	for _, cat := range cmd.Categories {
		cats = append(cats, resp.Simple("@"+cat))
	}
	for _, s := range cmd.Subcommands {
		subs = append(subs, commandInfo(s))
	}
	k := cmd.Keys
	return resp.Array(
		resp.BulkString(cmd.Name), resp.Int(int64(cmd.Arity)), resp.Set(flags...),
		resp.Int(int64(k.First)), resp.Int(int64(k.Last)), resp.Int(int64(k.Step)),
		resp.Set(cats...), resp.Set(), resp.Set(keySpec(cmd)...), resp.Array(subs...),
	)
}

// keySpec is the key specification of a command.
func keySpec(cmd *stream.Command) []resp.Value {
	k := cmd.Keys
	text := resp.BulkString
	var search, find resp.Value
	switch {
	case k.First > 0:
		last := k.Last
		if last > 0 {
			last -= k.First
		}
		search = resp.Map(text("type"), text("index"), text("spec"), resp.Map(text("index"), resp.Int(int64(k.First))))
		find = rangeSpec(last, k.Step, 0)
	case k.Find != nil && cmd.Name != "xread" && cmd.Name != "xreadgroup": // EVAL and its like
		search = resp.Map(text("type"), text("index"), text("spec"), resp.Map(text("index"), resp.Int(2)))
		find = resp.Map(text("type"), text("keynum"), text("spec"), resp.Map(
			text("keynumidx"), resp.Int(0), text("firstkey"), resp.Int(1), text("keystep"), resp.Int(1)))
	case k.Find != nil:
		from := int64(1)
		if cmd.Name == "xreadgroup" {
			from = 4
		}
		search = resp.Map(text("type"), text("keyword"), text("spec"),
			resp.Map(text("keyword"), text("STREAMS"), text("startfrom"), resp.Int(from)))
		find = rangeSpec(-1, 1, 2)
	default:
		return nil
	}
	return []resp.Value{resp.Map(
		text("flags"), resp.Set(accessFlags(cmd)...), text("begin_search"), search, text("find_keys"), find,
	)}
}

func rangeSpec(last, step, limit int) resp.Value {
	text := resp.BulkString
	return resp.Map(text("type"), text("range"), text("spec"), resp.Map(
		text("lastkey"), resp.Int(int64(last)), text("keystep"), resp.Int(int64(max(step, 1))), text("limit"), resp.Int(int64(limit))))
}

// accessFlags are the flags of a command's keys: whether they are read or written, and
// what a client may make of it.
func accessFlags(cmd *stream.Command) []resp.Value {
	var out []resp.Value
	for _, w := range strings.Fields(cmd.Keys.Access + " " + keyUse[cmd.Name]) {
		out = append(out, resp.Simple(w))
	}
	return out
}

// keyUse says what commands do with the content of their keys, in Redis's words: they
// return it (access), change what is there (update), add to it, or delete from it. Those
// that are not here do none of that.
var keyUse = map[string]string{
	"append": "insert", "decr": "access update", "decrby": "access update", "del": "delete", "dump": "access",
	"expire": "update", "expireat": "update", "expiretime": "access", "get": "access", "getdel": "access delete",
	"getex": "access update", "getset": "access update", "incr": "access update", "incrby": "access update",
	"mget": "access", "persist": "update", "pexpire": "update", "pexpireat": "update", "pexpiretime": "access",
	"psetex": "update", "pttl": "access", "restore": "update", "set": "access update variable_flags", "setex": "update",
	"setnx": "insert", "ttl": "access", "unlink": "delete",
	"xack": "update", "xackdel": "update delete", "xadd": "update", "xautoclaim": "delete", "xcfgset": "update",
	"xclaim": "update", "xdel": "delete", "xdelex": "delete", "xgroup|create": "insert", "xgroup|createconsumer": "insert",
	"xgroup|delconsumer": "delete", "xgroup|destroy": "delete", "xgroup|setid": "update", "xidmprecord": "update",
	"xinfo|consumers": "access", "xinfo|groups": "access", "xinfo|stream": "access", "xnack": "update",
	"xpending": "access", "xrange": "access", "xread": "access", "xreadgroup": "access", "xrevrange": "access",
	"xsetid": "update", "xtrim": "delete",
}

// COMMAND DOCS [name …]
func runCommandDocs(c *conn, q *request, argv [][]byte) {
	var cmds []*stream.Command
	if len(argv) == 2 {
		cmds = c.r.sorted()
	}
	for _, name := range argv[2:] {
		if cmd := c.r.named(name); cmd != nil {
			cmds = append(cmds, cmd)
		}
	}
	c.answer(q, docs(cmds))
}

// docs is the map of names to documentation.
func docs(cmds []*stream.Command) resp.Value {
	text := resp.BulkString
	var out []resp.Value
	for _, cmd := range cmds {
		fields := []resp.Value{
			text("summary"), text(cmd.Summary), text("since"), text(cmd.Since),
			text("group"), text(cmd.Group), text("complexity"), text(cmd.Complexity),
		}
		if len(cmd.Subcommands) > 0 {
			fields = append(fields, text("subcommands"), docs(cmd.Subcommands))
		}
		out = append(out, text(cmd.Name), resp.Map(fields...))
	}
	return resp.Map(out...)
}

// COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]
func runCommandList(c *conn, q *request, argv [][]byte) {
	keep := func(*stream.Command) bool { return true }
	switch {
	case len(argv) == 2:
	case len(argv) != 5 || !is(argv[2], "filterby"):
		c.refuse(q, textSyntax)
		return
	case is(argv[3], "module"):
		keep = func(*stream.Command) bool { return false }
	case is(argv[3], "aclcat"):
		cat := strings.ToLower(string(argv[4]))
		keep = func(cmd *stream.Command) bool { return slices.Contains(cmd.Categories, cat) }
	case is(argv[3], "pattern"):
		keep = func(cmd *stream.Command) bool { return matches(argv[4], cmd.Name) }
	default:
		c.refuse(q, textSyntax)
		return
	}
	filtered := len(argv) > 2
	var out []resp.Value
	for _, cmd := range c.r.sorted() {
		if keep(cmd) {
			out = append(out, resp.BulkString(cmd.Name))
		}
		for _, s := range cmd.Subcommands {
			if filtered && keep(s) {
				out = append(out, resp.BulkString(s.Name))
			}
		}
	}
	c.answer(q, resp.Array(out...))
}

// COMMAND GETKEYS command …, and GETKEYSANDFLAGS
func runCommandGetKeys(c *conn, q *request, argv [][]byte) {
	cmd, refusal := stream.LookupIn(c.r.table, argv[2:])
	switch {
	case cmd == nil || refusal != nil && len(cmd.Subcommands) > 0 && len(argv) < 4:
		c.refuse(q, "ERR Invalid command specified")
		return
	case refusal != nil:
		c.refuse(q, "ERR Invalid number of arguments specified for command")
		return
	case cmd.Keys.First == 0 && cmd.Keys.Find == nil:
		c.refuse(q, "ERR The command has no key arguments")
		return
	}
	idx := cmd.KeyIndexes(argv[2:])
	if len(idx) == 0 {
		c.refuse(q, "ERR Invalid arguments specified for command")
		return
	}
	var out []resp.Value
	for _, i := range idx {
		key := resp.Bulk(argv[2+i])
		if is(argv[1], "getkeysandflags") {
			key = resp.Array(key, resp.Set(accessFlags(cmd)...))
		}
		out = append(out, key)
	}
	c.answer(q, resp.Array(out...))
}

// matches reports whether a name, which is in lower case, matches a client's pattern.
func matches(pattern []byte, name string) bool {
	return stream.Match(bytes.ToLower(pattern), []byte(name))
}
