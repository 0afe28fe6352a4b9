package router

import (
	"bytes"
	"slices"
	"strings"

	"millrace/command"
	"millrace/command/usage"
	"millrace/resp"
	"millrace/stream"
)

// commandLines are COMMAND and its subcommands. Clients ask them which commands there
// are and where their keys stand. All answers come from the table that routes.
func commandLines() []line {
	sub := func(usage string, arity int, since, summary string, run handler) line {
		return serverLine(usage, arity, 0, since, summary, run).inCategories(categories(0, "connection")...).
			costs("O(N log N) for N commands.")
	}
	cmd := sub("command", -1, "2.8.13", "Describes every command.", runCommand).inGroup("server").tips("nondeterministic_output_order")
	cmd.subs = []line{
		sub("count", 2, "2.8.13", "Counts the commands.", runCommandCount).costs("O(1)"),
		sub("list [FILTERBY filterby:(MODULE module-name | ACLCAT category | PATTERN pattern:pattern)]", -2, "7.0.0",
			"Names the commands, or those that a filter keeps.", runCommandList).tips("nondeterministic_output_order"),
		sub("info [command-name...]", -2, "2.8.13", "Describes the named commands, or every command.", runCommandInfo).tips("nondeterministic_output_order").history(
			"7.0.0 Without names it describes every command."),
		sub("docs [command-name...]", -2, "7.0.0", "Explains the named commands, or every command, and their arguments.", runCommandDocs).tips("nondeterministic_output_order"),
		sub("getkeys command [arg...]", -3, "2.8.13", "Picks the keys out of a command with its arguments.", runCommandGetKeys).costs("O(N) for N arguments."),
		sub("getkeysandflags command [arg...]", -3, "7.0.0", "Picks the keys out of a command, and tells how it uses each.", runCommandGetKeys).costs("O(N) for N arguments."),
		helpLine("5.0.0", commandHelp).inCategories(categories(0, "connection")...),
	}
	return []line{cmd}
}

var commandHelp = []string{
	"COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"(no subcommand)",
	"    Describes every command.",
	"COUNT",
	"    Counts the commands.",
	"LIST [FILTERBY (MODULE <name> | ACLCAT <cat> | PATTERN <pattern>)]",
	"    Names the commands, or those that the filter keeps.",
	"INFO [<command-name> ...]",
	"    Describes the named commands, or every command.",
	"DOCS [<command-name> ...]",
	"    Explains the named commands, or every command, and their arguments.",
	"GETKEYS <full-command>",
	"    Picks the keys out of a command with its arguments.",
	"GETKEYSANDFLAGS <full-command>",
	"    Picks the keys out of a command, and tells how it uses each.",
	"HELP",
	"    Shows this list.",
}

// sorted returns all commands by name.
func (r *Router) sorted() []*command.Command {
	out := make([]*command.Command, 0, len(r.table))
	for _, cmd := range r.table {
		out = append(out, cmd)
	}
	slices.SortFunc(out, func(a, b *command.Command) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// named returns the command with a name, which may be "xgroup|create"; nil if none.
func (r *Router) named(name []byte) *command.Command {
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
	flag command.Flags
	name string
}{
	{command.Write, "write"}, {command.ReadOnly, "readonly"}, {command.DenyOOM, "denyoom"}, {command.Admin, "admin"},
	{command.NoScript, "noscript"}, {command.Blocking, "blocking"}, {command.Loading, "loading"}, {command.Stale, "stale"},
	{command.Fast, "fast"}, {command.NoAuth, "no_auth"}, {command.NoMulti, "no_multi"}, {command.MovableKeys, "movablekeys"},
}

// commandInfo is a command's element of COMMAND INFO.
func commandInfo(cmd *command.Command) resp.Value {
	var flags, cats, tips, subs []resp.Value
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
	subcommands := resp.Array(subs...)
	if len(subs) == 0 {
		subcommands = resp.Set() // as in Redis
	}
	k := cmd.Keys
	for _, t := range cmd.Tips {
		tips = append(tips, resp.BulkString(t))
	}
	return resp.Array(
		resp.BulkString(cmd.Name), resp.Int(int64(cmd.Arity)), resp.Set(flags...),
		resp.Int(int64(k.First)), resp.Int(int64(k.Last)), resp.Int(int64(k.Step)),
		resp.Set(cats...), resp.Set(tips...), resp.Set(keySpecs(cmd)...), subcommands,
	)
}

// keySpecs are the key specifications of a command: one for each access in the table. For
// example, COPY reads its first key and overwrites its second one, so it has two.
func keySpecs(cmd *command.Command) []resp.Value {
	k := cmd.Keys
	if k.First == 0 && k.Find == nil {
		return nil
	}
	accesses := strings.Split(k.Access, "; ")
	var out []resp.Value
	for i, access := range accesses {
		search, find := keySearch(k, i, len(accesses))
		out = append(out, resp.Map(
			resp.BulkString("flags"), accessFlags(access), resp.BulkString("begin_search"), search, resp.BulkString("find_keys"), find))
	}
	return out
}

// keySearch is the place where key specification i of n begins, and the rule for the keys
// from there on.
func keySearch(k command.Keys, i, n int) (begin, find resp.Value) {
	number := func(n int) resp.Value { return resp.Int(int64(n)) }
	text := resp.BulkString
	// With limit 2, the keys are the first half of the words that remain.
	keyRange := func(last, step, limit int) resp.Value {
		return spec("range", text("lastkey"), number(last), text("keystep"), number(step), text("limit"), number(limit))
	}
	switch {
	case k.First > 0:
		last := k.Last
		if n > 1 {
			last = 0 // each specification is for one key
		} else if last > 0 {
			last -= k.First
		}
		return spec("index", text("index"), number(k.First+i)), keyRange(last, k.Step, 0)
	case k.Keyword != "":
		return spec("keyword", text("keyword"), text(k.Keyword), text("startfrom"), number(k.KeywordFrom)), keyRange(-1, 1, 2)
	}
	return spec("index", text("index"), number(2)),
		spec("keynum", text("keynumidx"), number(0), text("firstkey"), number(1), text("keystep"), number(1))
}

// spec is one half of a key specification: a type, and the fields of that type.
func spec(kind string, pairs ...resp.Value) resp.Value {
	return resp.Map(resp.BulkString("type"), resp.BulkString(kind), resp.BulkString("spec"), resp.Map(pairs...))
}

// accessFlags are the flags of one access to a key: "RW access update".
func accessFlags(access string) resp.Value {
	var out []resp.Value
	for w := range strings.FieldsSeq(access) {
		out = append(out, resp.Simple(w))
	}
	return resp.Set(out...)
}

// COMMAND DOCS [name …]
func runCommandDocs(c *conn, q *request, argv [][]byte) {
	var cmds []*command.Command
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
func docs(cmds []*command.Command) resp.Value {
	text := resp.BulkString
	var out []resp.Value
	for _, cmd := range cmds {
		fields := []resp.Value{
			text("summary"), text(cmd.Summary), text("since"), text(cmd.Since),
			text("group"), text(cmd.Group), text("complexity"), text(cmd.Complexity),
		}
		if since, better, ok := strings.Cut(cmd.Deprecated, " "); ok {
			fields = append(fields, text("doc_flags"), resp.Set(resp.Simple("deprecated")),
				text("deprecated_since"), text(since), text("replaced_by"), text(better))
		}
		if len(cmd.History) > 0 {
			fields = append(fields, text("history"), history(cmd.History))
		}
		args, err := usage.Parse(cmd.Usage)
		if err != nil {
			panic(err) // a mistake in the table, which TestCommandsPage finds
		}
		if len(args) > 0 {
			keys := keyArgs{specs: len(keySpecs(cmd))}
			fields = append(fields, text("arguments"), arguments(args, &keys))
		}
		if len(cmd.Subcommands) > 0 {
			fields = append(fields, text("subcommands"), docs(cmd.Subcommands))
		}
		out = append(out, text(cmd.Name), resp.Map(fields...))
	}
	return resp.Map(out...)
}

// history is the set of changes, each with the version that made it.
func history(notes []string) resp.Value {
	var out []resp.Value
	for _, note := range notes {
		version, change, _ := strings.Cut(note, " ")
		out = append(out, resp.Array(resp.BulkString(version), resp.BulkString(change)))
	}
	return resp.Set(out...)
}

// keyArgs counts the keys among the arguments of a command. The key specifications have the
// same order; the last one is also that of all further keys.
type keyArgs struct{ seen, specs int }

// next returns the index of the key specification of the next key.
func (k *keyArgs) next() int {
	k.seen++
	return max(min(k.seen, k.specs)-1, 0)
}

// arguments is a tree of arguments.
func arguments(args []usage.Arg, keys *keyArgs) resp.Value {
	text := resp.BulkString
	var out []resp.Value
	for _, a := range args {
		fields := []resp.Value{text("name"), text(a.Name), text("type"), text(string(a.Type))}
		if a.Type == usage.Key {
			fields = append(fields, text("key_spec_index"), resp.Int(int64(keys.next())))
		}
		if a.HasToken {
			fields = append(fields, text("token"), text(a.Token))
		}
		if flags := argFlags(&a); len(flags) > 0 {
			fields = append(fields, text("flags"), resp.Set(flags...))
		}
		if len(a.Args) > 0 {
			fields = append(fields, text("arguments"), arguments(a.Args, keys))
		}
		out = append(out, resp.Map(fields...))
	}
	return resp.Array(out...)
}

// argFlags are the flags of an argument, in Redis's order.
func argFlags(a *usage.Arg) (out []resp.Value) {
	for _, f := range []struct {
		set  bool
		name string
	}{{a.Optional, "optional"}, {a.Multiple, "multiple"}, {a.MultipleToken, "multiple_token"}} {
		if f.set {
			out = append(out, resp.Simple(f.name))
		}
	}
	return out
}

// COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]
func runCommandList(c *conn, q *request, argv [][]byte) {
	keep := func(*command.Command) bool { return true }
	switch {
	case len(argv) == 2:
	case len(argv) != 5 || !command.IsWord(argv[2], "FILTERBY"):
		c.refuse(q, textSyntax)
		return
	case command.IsWord(argv[3], "MODULE"):
		keep = func(*command.Command) bool { return false }
	case command.IsWord(argv[3], "ACLCAT"):
		cat := strings.ToLower(string(argv[4]))
		keep = func(cmd *command.Command) bool { return slices.Contains(cmd.Categories, cat) }
	case command.IsWord(argv[3], "PATTERN"):
		keep = func(cmd *command.Command) bool { return matches(argv[4], cmd.Name) }
	default:
		c.refuse(q, textSyntax)
		return
	}
	var out []resp.Value
	for _, cmd := range c.r.sorted() {
		if keep(cmd) {
			out = append(out, resp.BulkString(cmd.Name))
		}
		for _, s := range cmd.Subcommands {
			if keep(s) {
				out = append(out, resp.BulkString(s.Name))
			}
		}
	}
	c.answer(q, resp.Array(out...))
}

// COMMAND GETKEYS command …, and GETKEYSANDFLAGS
func runCommandGetKeys(c *conn, q *request, argv [][]byte) {
	cmd, refusal := c.r.table.Lookup(argv[2:])
	switch {
	case cmd == nil || len(cmd.Subcommands) > 0 && len(argv) > 3: // a container with an unknown subcommand
		c.refuse(q, "ERR Invalid command specified")
		return
	case cmd.Keys.First == 0 && cmd.Keys.Find == nil:
		c.refuse(q, "ERR The command has no key arguments")
		return
	case refusal != nil:
		c.refuse(q, "ERR Invalid number of arguments specified for command")
		return
	}
	idx := cmd.KeyIndexes(argv[2:])
	if cmd.Keys.Keyword != "" {
		idx = keywordKeys(cmd.Keys, argv[2:])
	}
	if len(idx) == 0 && !counted(cmd.Keys) {
		c.refuse(q, "ERR Invalid arguments specified for command")
		return
	}
	accesses := strings.Split(cmd.Keys.Access, "; ")
	if cmd.Name == "set" {
		accesses = []string{setAccess(argv[2:])}
	}
	var out []resp.Value
	for n, i := range idx {
		key := resp.Bulk(argv[2+i])
		if command.IsWord(argv[1], "GETKEYSANDFLAGS") {
			key = resp.Array(key, accessFlags(accesses[min(n, len(accesses)-1)]))
		}
		out = append(out, key)
	}
	c.answer(q, resp.Array(out...))
}

// keywordKeys finds keys by the key specification alone: they follow the first occurrence
// of the keyword. The other words may be wrong.
func keywordKeys(k command.Keys, argv [][]byte) (idx []int) {
	for i := k.KeywordFrom; i < len(argv); i++ {
		if strings.EqualFold(string(argv[i]), k.Keyword) {
			for n := range (len(argv) - i - 1) / 2 {
				idx = append(idx, i+1+n)
			}
			break
		}
	}
	return idx
}

// setAccess is the access of a SET to its key, which depends on the options. The rule is
// that of setGetKeys in redis src/db.c.
func setAccess(argv [][]byte) string {
	mode, access := "OW", ""
	for _, w := range argv[3:] {
		switch {
		case command.IsWord(w, "GET"):
			mode, access = "RW", " access"
		case command.IsWord(w, "IFEQ"), command.IsWord(w, "IFNE"), command.IsWord(w, "IFDEQ"), command.IsWord(w, "IFDNE"):
			mode = "RW"
		}
	}
	return mode + access + " update"
}

// counted reports whether an argument of the command is the number of its keys, which may
// be zero.
func counted(k command.Keys) bool { return k.Find != nil && k.Keyword == "" }

// matches reports whether a name in lower case matches a client's pattern.
func matches(pattern []byte, name string) bool {
	return stream.Match(bytes.ToLower(pattern), []byte(name))
}
