package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO: what there is to know of streams, groups and consumers.
var xinfo = Command{
	Command: command.Command{
		Name: "xinfo", Arity: -2,
		Categories: []string{"slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "A container for stream introspection commands.",
		Complexity: "Depends on subcommand.",
	},
	Subs: []*Command{
		&xinfoConsumers,
		&xinfoGroups,
		&xinfoHelp,
		&xinfoStream,
	},
}

// XINFO HELP: the subcommands.
var xinfoHelp = Command{
	Command: command.Command{
		Name: "xinfo|help", Arity: 2, Flags: command.Loading | command.Stale,
		Categories: []string{"stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Returns helpful text about the different subcommands.",
		Complexity: "O(1)",
	},
	Run: func(*Tx, [][]byte) (resp.Value, error) {
		return helpText(
			"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"CONSUMERS <key> <groupname>",
			"    Show consumers of <groupname>.",
			"GROUPS <key>",
			"    Show the stream consumer groups.",
			"STREAM <key> [FULL [COUNT <count>]",
			"    Show information about the stream.",
			"HELP",
			"    Print this help.",
		), nil
	},
}
