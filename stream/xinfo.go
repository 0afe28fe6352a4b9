package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO describes streams, groups and consumers.
var xinfo = Command{
	Command: command.Command{
		Name: "xinfo", Arity: -2,
		Categories: []string{"slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Describes streams, groups and consumers.",
		Complexity: "As each subcommand says.",
	},
	Subs: []*Command{
		&xinfoConsumers,
		&xinfoGroups,
		&xinfoHelp,
		&xinfoStream,
	},
}

// XINFO HELP: lists the subcommands.
var xinfoHelp = Command{
	Command: command.Command{
		Name: "xinfo|help", Arity: 2, Flags: command.Loading | command.Stale,
		Categories: []string{"stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Lists the subcommands, with a sentence on each.",
		Complexity: "O(1)",
	},
	Run: func(*Tx, [][]byte) (resp.Value, error) {
		return helpText(
			"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"CONSUMERS <key> <groupname>",
			"    Describe each consumer of a group.",
			"GROUPS <key>",
			"    Describe each group of a stream.",
			"STREAM <key> [FULL [COUNT <count>]",
			"    Describe a stream; FULL adds entries, groups and consumers.",
			"HELP",
			"    List the subcommands.",
		), nil
	},
}
