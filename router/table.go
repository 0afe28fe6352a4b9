package router

import (
	"slices"

	"millrace/stream"
)

// A handler takes a command that has passed the table's checks and is not part of a
// MULTI. It puts q in the connection's list.
type handler func(c *conn, q *request, argv [][]byte)

// A line is a command that the router itself runs, with what runs it. In a container,
// subs run the subcommands.
type line struct {
	cmd  stream.Command
	run  handler
	subs []line
}

// buildTable returns all commands by name, and what runs those that do not just go to
// the shard of their keys.
func buildTable() (map[string]*stream.Command, map[*stream.Command]handler) {
	table := make(map[string]*stream.Command)
	handlers := make(map[*stream.Command]handler)
	for _, cmd := range stream.Commands() {
		if cmd.Is(stream.Internal) {
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
			cmd := l.cmd
			cmd.Subcommands = nil
			if known := table[cmd.Name]; known != nil { // a container with subcommands of both sides
				cmd.Subcommands = slices.Clone(known.Subcommands)
			}
			for _, s := range l.subs {
				sub := s.cmd
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
