package router

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// scriptLines are the commands about scripts, of which there are none: nothing is ever
// loaded, so there is nothing to flush or to find.
func scriptLines() []line {
	sub := func(name string, arity int, flags command.Flags, since, summary string, run handler) line {
		l := serverLine(name, arity, command.NoScript, "", since, summary, run)
		l.cmd.Flags, l.cmd.Categories = flags|command.NoScript, categories(0, "scripting")
		if name == "help" {
			l.cmd.Flags &^= command.NoScript
		}
		if flags&command.Write != 0 {
			l.cmd.Categories = append([]string{"write"}, l.cmd.Categories...)
		}
		return l
	}
	noScripts := refusal("ERR Millrace runs no scripts and no functions")
	notBusy := refusal("NOTBUSY No scripts in execution right now.")
	script := serverLine("script", -2, 0, "scripting", "2.6.0", "A container for Lua scripts management commands.", nil)
	script.cmd.Flags = 0
	script.subs = []line{
		sub("flush async:[ASYNC|SYNC]", -2, 0, "2.6.0", "Removes all server-side Lua scripts from the script cache.",
			flushOption("ERR SCRIPT FLUSH only support SYNC|ASYNC option")).history(
			"6.2.0 Added the `ASYNC` and `SYNC` flushing mode modifiers."),
		sub("exists sha1...", -3, 0, "2.6.0", "Determines whether server-side Lua scripts exist in the script cache.", runScriptExists),
		sub("kill", 2, 0, "2.6.0", "Refused: no script ever runs.", notBusy),
		sub("load script", 3, command.Stale, "2.6.0", "Refused: Millrace runs no scripts.", noScripts),
		sub("debug mode:(YES|SYNC|NO)", 3, 0, "3.2.0", "Refused: Millrace runs no scripts.", noScripts),
		sub("help", 2, command.Loading|command.Stale, "5.0.0", "Returns helpful text about the different subcommands.", help(scriptHelp)),
	}
	function := serverLine("function", -2, 0, "scripting", "7.0.0", "A container for function commands.", nil)
	function.cmd.Flags = 0
	function.subs = []line{
		sub("flush async:[ASYNC|SYNC]", -2, command.Write, "7.0.0", "Deletes all libraries and functions.", runFunctionFlush),
		sub("list [LIBRARYNAME library-name-pattern] [WITHCODE]", -2, 0, "7.0.0", "Returns information about all libraries.", runFunctionList).tips("nondeterministic_output_order"),
		sub("stats", 2, 0, "7.0.0", "Returns information about a function during execution.", runFunctionStats).tips("nondeterministic_output"),
		sub("kill", 2, 0, "7.0.0", "Refused: no function ever runs.", notBusy),
		sub("delete library-name", 3, command.Write, "7.0.0", "Refused: there are no libraries.", refusal("ERR Library not found")),
		sub("load [REPLACE] function-code", -3, command.Write|command.DenyOOM, "7.0.0", "Refused: Millrace runs no functions.", noScripts),
		sub("dump", 2, 0, "7.0.0", "Refused: Millrace runs no functions.", noScripts),
		sub("restore serialized-value policy:[FLUSH|APPEND|REPLACE]", -3, command.Write|command.DenyOOM, "7.0.0", "Refused: Millrace runs no functions.", noScripts),
		sub("help", 2, command.Loading|command.Stale, "7.0.0", "Returns helpful text about the different subcommands.", help(functionHelp)),
	}
	out := []line{script, function}
	for _, f := range []struct {
		name, what, since string
		run               handler
	}{
		{"eval", " script", "2.6.0", noScripts}, {"eval_ro", " script", "7.0.0", noScripts},
		{"evalsha", " sha1", "2.6.0", refusal("NOSCRIPT No matching script. Please use EVAL.")},
		{"evalsha_ro", " sha1", "7.0.0", refusal("NOSCRIPT No matching script. Please use EVAL.")},
		{"fcall", " function", "7.0.0", refusal("ERR Function not found")}, {"fcall_ro", " function", "7.0.0", refusal("ERR Function not found")},
	} {
		flags, access := command.NoScript|command.Stale|command.MovableKeys, "RW access update"
		if strings.HasSuffix(f.name, "_ro") {
			flags, access = flags|command.ReadOnly, "RO access"
		}
		out = append(out, line{cmd: command.Command{
			Name: f.name + f.what + " numkeys:int [key...] [arg...]", Arity: -3, Flags: flags, Keys: command.Keys{Find: countedKeys, Access: access},
			Categories: categories(0, "scripting"), Since: f.since, Summary: "Refused: Millrace runs no scripts and no functions.",
			Complexity: "O(1)", Group: "scripting",
		}, run: f.run})
	}
	return out
}

var scriptHelp = []string{
	"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"EXISTS <sha1> [<sha1> ...]",
	"    Return information about the existence of the scripts in the script cache: there are none.",
	"FLUSH [ASYNC|SYNC]",
	"    Accepted: there is nothing to flush.",
	"HELP",
	"    Print this help.",
}

var functionHelp = []string{
	"FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
	"    Return an empty array: there are no libraries.",
	"STATS",
	"    Return that no function is running.",
	"FLUSH [ASYNC|SYNC]",
	"    Accepted: there is nothing to flush.",
	"HELP",
	"    Print this help.",
}

// countedKeys finds the keys of EVAL and its like: a script, how many keys, the keys.
func countedKeys(argv [][]byte) []int {
	n, ok := command.ParseInt(argv[2])
	if !ok || n <= 0 || n > int64(len(argv)-3) {
		return nil
	}
	out := make([]int, n)
	for i := range out {
		out[i] = 3 + i
	}
	return out
}

// flushOption returns the handler of a FLUSH that has nothing to do; refused is for words
// other than SYNC and ASYNC.
func flushOption(refused string) handler {
	return func(c *conn, q *request, argv [][]byte) {
		if len(argv) > 3 || len(argv) == 3 && !command.IsWord(argv[2], "SYNC") && !command.IsWord(argv[2], "ASYNC") {
			c.refuse(q, refused)
			return
		}
		c.answer(q, resp.OK)
	}
}

// FUNCTION FLUSH [ASYNC|SYNC]
func runFunctionFlush(c *conn, q *request, argv [][]byte) {
	if len(argv) > 3 {
		c.refuse(q, badSubcommand(argv))
		return
	}
	flushOption("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")(c, q, argv)
}

// SCRIPT EXISTS sha1 …
func runScriptExists(c *conn, q *request, argv [][]byte) {
	out := make([]resp.Value, len(argv)-2)
	for i := range out {
		out[i] = resp.Int(0)
	}
	c.answer(q, resp.Array(out...))
}

// FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]
func runFunctionList(c *conn, q *request, argv [][]byte) {
	code, name := false, false
	for i := 2; i < len(argv); i++ {
		switch {
		case !code && command.IsWord(argv[i], "WITHCODE"):
			code = true
		case !name && command.IsWord(argv[i], "LIBRARYNAME"):
			if i+1 == len(argv) {
				c.refuse(q, "ERR library name argument was not given")
				return
			}
			name = true
			i++
		default:
			c.refuse(q, "ERR Unknown argument "+string(cut(argv[i], maxEcho)))
			return
		}
	}
	c.answer(q, resp.Array())
}

// FUNCTION STATS
func runFunctionStats(c *conn, q *request, _ [][]byte) {
	c.answer(q, resp.Map(resp.BulkString("running_script"), resp.Null(), resp.BulkString("engines"), resp.Map()))
}
