package router

import (
	"slices"
	"strings"

	"millrace/command"
	"millrace/resp"
	"millrace/stream"
)

// A handler takes a command that has passed the table's checks and is not queued by a
// MULTI. It puts q into the connection's list of requests.
type handler func(c *conn, q *request, argv [][]byte)

// A line is a command that the router itself runs, with its handler. The name of the
// command is followed by its usage: "echo message". A container has subs, one line for
// each subcommand.
type line struct {
	cmd  command.Command
	run  handler
	subs []line
}

// serverLine returns the line of a command that costs the same however much data there
// is, and that a Redis also runs while it loads its data.
func serverLine(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
	return line{cmd: command.Command{
		Name: usage, Arity: arity, Flags: flags | command.Loading | command.Stale, Categories: categories(flags, ""),
		Since: since, Summary: summary, Complexity: "O(1)",
	}, run: run}
}

// container returns the line of a command that has only subcommands. They belong to its
// group.
func container(name, group, since, summary string, subs ...line) line {
	return line{cmd: command.Command{
		Name: name, Arity: -2, Categories: []string{"slow"}, Since: since, Summary: summary,
		Complexity: "As each subcommand says.", Group: group,
	}, subs: subs}
}

// helpLine returns the line of a container's HELP, which answers lines.
func helpLine(since string, lines []string) line {
	return serverLine("help", 2, 0, since, "Lists the subcommands, with a sentence on each.", help(lines))
}

// inGroup returns a line in a group of COMMAND DOCS. A subcommand needs none.
func (l line) inGroup(group string) line {
	l.cmd.Group = group
	return l
}

// inCategories returns a line with these ACL categories instead of those that follow
// from its flags.
func (l line) inCategories(categories ...string) line {
	l.cmd.Categories = categories
	return l
}

// costs returns a line with a complexity of its own.
func (l line) costs(complexity string) line {
	l.cmd.Complexity = complexity
	return l
}

// with returns a line with more flags.
func (l line) with(flags command.Flags) line {
	l.cmd.Flags |= flags
	return l
}

// runningOnly returns a line that a Redis runs neither while it loads its data nor while
// it is out of touch with its master.
func (l line) runningOnly() line {
	l.cmd.Flags &^= command.Loading | command.Stale
	return l
}

// loadedOnly returns a line that a Redis does not run while it loads its data.
func (l line) loadedOnly() line {
	l.cmd.Flags &^= command.Loading
	return l
}

// history returns a line with the changes of later versions, each a version and a
// sentence: "6.2.0 Takes …".
func (l line) history(notes ...string) line {
	l.cmd.History = notes
	return l
}

// tips returns a line with tips for clients.
func (l line) tips(tips ...string) line {
	l.cmd.Tips = tips
	return l
}

// deprecated returns a line for which Redis names a better command, and since which
// version: "5.0.0 `REPLICAOF`".
func (l line) deprecated(since string) line {
	l.cmd.Deprecated = since
	return l
}

// help returns a handler that answers lines.
func help(lines []string) handler {
	out := make([]resp.Value, len(lines))
	for i, l := range lines {
		out[i] = resp.Simple(l)
	}
	return func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array(out...)) }
}

// refusal returns a handler that answers an error.
func refusal(text string) handler {
	return func(c *conn, q *request, _ [][]byte) { c.refuse(q, text) }
}

// named returns the command of a line, with its name and usage apart.
func (l line) named() command.Command {
	cmd := l.cmd
	cmd.Name, cmd.Usage, _ = strings.Cut(cmd.Name, " ")
	return cmd
}

// buildTable returns all commands by name, and the handlers of those that do not simply
// go to the shard of their keys.
func buildTable() (command.Table, map[*command.Command]handler) {
	table := make(command.Table)
	handlers := make(map[*command.Command]handler)
	for _, known := range stream.Commands() {
		cmd := &known.Command
		if cmd.Is(command.Internal) {
			continue // sent by the router only
		}
		table[cmd.Name] = cmd
		if run := fanOuts[cmd.Name]; run != nil {
			handlers[cmd] = run
		}
	}
	for _, group := range [][]line{
		connectionLines(), clientLines(), commandLines(), clusterLines(), infoLines(), debugLines(), nameLines(), memoryLines(),
		transactionLines(),
		configLines(), serverLines(), slowlogLines(), latencyLines(), monitorLines(), aclLines(), scriptLines(), waitLines(),
	} {
		for _, l := range group {
			cmd := l.named()
			cmd.Subcommands = nil
			if known := table[cmd.Name]; known != nil { // the state machine runs other subcommands of this container
				cmd.Subcommands = slices.Clone(known.Subcommands)
			}
			for _, s := range l.subs {
				sub := s.named()
				sub.Name = cmd.Name + "|" + sub.Name
				sub.Group = cmd.Group
				cmd.Subcommands = append(cmd.Subcommands, &sub)
				handlers[&sub] = s.run
			}
			table[cmd.Name] = &cmd
			if l.run != nil {
				handlers[&cmd] = l.run
			}
		}
	}
	return table, handlers
}

// fanOuts are the commands of the state machine whose keys may be on several shards.
var fanOuts = map[string]handler{
	"del": runSum, "unlink": runSum, "exists": runSum, "touch": runSum,
	"mget":  runMGet,
	"scan":  runScan,
	"xread": runXRead, "xreadgroup": runXRead,
}
