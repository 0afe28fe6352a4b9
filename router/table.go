package router

import (
	"slices"
	"strings"

	"millrace/command"
	"millrace/stream"
)

// A handler takes a command that has passed the table's checks and is not part of a
// MULTI. It puts q in the connection's list.
type handler func(c *conn, q *request, argv [][]byte)

// A line is a command that the router itself runs, with what runs it. In a container,
// subs run the subcommands. In a line, the name of a command is followed by its usage.
type line struct {
	cmd  command.Command
	run  handler
	subs []line
}

// history returns a line with what later versions added: "6.2.0 Added …".
func (l line) history(notes ...string) line {
	l.cmd.History = notes
	return l
}

// tips returns a line with tips for clients.
func (l line) tips(tips ...string) line {
	l.cmd.Tips = tips
	return l
}

// deprecated returns a line of which Redis has something better: "5.0.0 `REPLICAOF`".
func (l line) deprecated(since string) line {
	l.cmd.Deprecated = since
	return l
}

// named returns the command of a line with its name and usage apart.
func (l line) named() command.Command {
	cmd := l.cmd
	cmd.Name, cmd.Usage, _ = strings.Cut(cmd.Name, " ")
	return cmd
}

// buildTable returns all commands by name, and what runs those that do not just go to
// the shard of their keys.
func buildTable() (command.Table, map[*command.Command]handler) {
	table := make(command.Table)
	handlers := make(map[*command.Command]handler)
	for _, known := range stream.Commands() {
		cmd := &known.Command
		if cmd.Is(command.Internal) {
			continue // between router and shard only
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
			if known := table[cmd.Name]; known != nil { // a container with subcommands of both sides
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

// fanOuts are the commands of the state machine that may span shards.
var fanOuts = map[string]handler{
	"del": runSum, "unlink": runSum, "exists": runSum, "touch": runSum,
	"mget":  runMGet,
	"scan":  runScan,
	"xread": runXRead, "xreadgroup": runXRead,
}
