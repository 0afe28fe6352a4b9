package router

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// scriptLine returns the line of a subcommand of SCRIPT or FUNCTION.
func scriptLine(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
	cats := categories(0, "scripting")
	if flags&command.Write != 0 {
		cats = append([]string{"write"}, cats...)
	}
	return serverLine(usage, arity, flags|command.NoScript, since, summary, run).runningOnly().inCategories(cats...)
}

const (
	summaryNoScripts   = "Refused: Millrace runs no scripts."
	summaryNoFunctions = "Refused: Millrace runs no functions."
)

var (
	noScripts = refusal("ERR Millrace runs no scripts and no functions")
	notBusy   = refusal("NOTBUSY No scripts in execution right now.")
)

// scriptLines are the commands about scripts and functions. Millrace runs neither:
// nothing is ever loaded, so there is nothing to flush or to find.
func scriptLines() []line {
	script := container("script", "scripting", "2.6.0", "Commands about scripts, of which there are none.",
		scriptLine("flush async:[ASYNC|SYNC]", -2, 0, "2.6.0", "Does nothing: no script is ever kept.",
			flushOption("ERR SCRIPT FLUSH only support SYNC|ASYNC option")).history(
			"6.2.0 Takes `ASYNC` and `SYNC`."),
		scriptLine("exists sha1...", -3, 0, "2.6.0", "Answers 0 for each script: none is ever kept.", runScriptExists).
			costs("O(N) for N arguments."),
		scriptLine("kill", 2, 0, "2.6.0", "Refused: no script ever runs.", notBusy),
		scriptLine("load script", 3, 0, "2.6.0", summaryNoScripts, noScripts).with(command.Stale),
		scriptLine("debug mode:(YES|SYNC|NO)", 3, 0, "3.2.0", summaryNoScripts, noScripts),
		helpLine("5.0.0", scriptHelp).inCategories(categories(0, "scripting")...),
	)
	return append([]line{script, functionLine()}, evalLines()...)
}

// functionLine is FUNCTION with its subcommands.
func functionLine() line {
	return container("function", "scripting", "7.0.0", "Commands about functions, of which there are none.",
		scriptLine("flush async:[ASYNC|SYNC]", -2, command.Write, "7.0.0", "Does nothing: no library is ever kept.", runFunctionFlush),
		scriptLine("list [LIBRARYNAME library-name-pattern] [WITHCODE]", -2, 0, "7.0.0", "Answers an empty array: there are no libraries.", runFunctionList).
			tips("nondeterministic_output_order"),
		scriptLine("stats", 2, 0, "7.0.0", "Answers that no function is running.", runFunctionStats).tips("nondeterministic_output"),
		scriptLine("kill", 2, 0, "7.0.0", "Refused: no function ever runs.", notBusy),
		scriptLine("delete library-name", 3, command.Write, "7.0.0", "Refused: there are no libraries.", refusal("ERR Library not found")),
		scriptLine("load [REPLACE] function-code", -3, command.Write|command.DenyOOM, "7.0.0", summaryNoFunctions, noScripts),
		scriptLine("dump", 2, 0, "7.0.0", summaryNoFunctions, noScripts),
		scriptLine("restore serialized-value policy:[FLUSH|APPEND|REPLACE]", -3, command.Write|command.DenyOOM, "7.0.0", summaryNoFunctions, noScripts),
		helpLine("7.0.0", functionHelp).inCategories(categories(0, "scripting")...),
	)
}

// evalLines are the commands that would run a script or a function.
func evalLines() (out []line) {
	noScript := refusal("NOSCRIPT No matching script. Please use EVAL.")
	noFunction := refusal("ERR Function not found")
	for _, f := range []struct {
		usage, since string
		run          handler
	}{
		{"eval script", "2.6.0", noScripts}, {"eval_ro script", "7.0.0", noScripts},
		{"evalsha sha1", "2.6.0", noScript}, {"evalsha_ro sha1", "7.0.0", noScript},
		{"fcall function", "7.0.0", noFunction}, {"fcall_ro function", "7.0.0", noFunction},
	} {
		l := scriptLine(f.usage+" numkeys:int [key...] [arg...]", -3, 0, f.since, "Refused: Millrace runs no scripts and no functions.", f.run).
			inGroup("scripting").with(command.Stale | command.MovableKeys)
		l.cmd.Keys = command.Keys{Find: countedKeys, Access: "RW access update"}
		if strings.Contains(f.usage, "_ro ") {
			l = l.with(command.ReadOnly)
			l.cmd.Keys.Access = "RO access"
		}
		out = append(out, l)
	}
	return out
}

var scriptHelp = []string{
	"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"EXISTS <sha1> [<sha1> ...]",
	"    Answers 0 for each script: none is ever kept.",
	"FLUSH [ASYNC|SYNC]",
	"    Does nothing: there is nothing to flush.",
	"HELP",
	"    Shows this list.",
}

var functionHelp = []string{
	"FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
	"    Answers an empty array: there are no libraries.",
	"STATS",
	"    Answers that no function is running.",
	"FLUSH [ASYNC|SYNC]",
	"    Does nothing: there is nothing to flush.",
	"HELP",
	"    Shows this list.",
}

// countedKeys finds the keys of EVAL and the like: script numkeys key ….
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

// flushOption returns the handler of a FLUSH that has nothing to do. It refuses a word
// other than SYNC and ASYNC with the text refused.
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
