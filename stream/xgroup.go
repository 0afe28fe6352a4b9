package stream

import (
	"strings"

	"millrace/command"
	"millrace/resp"
)

// XGROUP creates, moves and destroys consumer groups and their consumers.
var xgroup = Command{
	Command: command.Command{
		Name: "xgroup", Arity: -2, Since: "5.0.0", Group: "stream",
		Summary:    "Creates, moves and destroys consumer groups.",
		Complexity: "As each subcommand says.",
		Categories: []string{"slow"},
	},
	Subs: []*Command{
		&xgroupCreate, &xgroupCreateConsumer, &xgroupDelConsumer, &xgroupDestroy, &xgroupHelp, &xgroupSetID,
	},
}

// XGROUP HELP: lists the subcommands.
var xgroupHelp = Command{
	Command: command.Command{
		Name: "xgroup|help", Arity: 2, Flags: command.Loading | command.Stale, Since: "5.0.0", Group: "stream",
		Categories: []string{"stream", "slow"},
		Summary:    "Lists the subcommands, with a sentence on each.",
		Complexity: "O(1)",
	},
	Run: func(*Tx, [][]byte) (resp.Value, error) {
		return helpText(
			"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"CREATE <key> <groupname> <id|$> [option]",
			"    Add a group that reads the entries after this ID. Options:",
			"    * MKSTREAM",
			"      Start an empty stream where there is none.",
			"    * ENTRIESREAD entries_read",
			"      Say how many entries the group has read, for its lag.",
			"CREATECONSUMER <key> <groupname> <consumer>",
			"    Add a consumer before its first read.",
			"DELCONSUMER <key> <groupname> <consumer>",
			"    Delete a consumer and its pending entries.",
			"DESTROY <key> <groupname>",
			"    Delete a group with its consumers and pending entries.",
			"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
			"    Let the group go on reading after this ID.",
			"HELP",
			"    List the subcommands.",
		), nil
	},
}

// helpText returns the reply of a HELP subcommand, with an element for each line.
func helpText(lines ...string) resp.Value {
	elems := make([]resp.Value, len(lines))
	for i, l := range lines {
		elems[i] = resp.Simple(l)
	}
	return resp.Array(elems...)
}

var (
	errXGroupNoKey = resp.Err("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE " +
		"you may want to use the MKSTREAM option to create an empty stream automatically.")
	errEntriesRead = resp.Err("ERR value for ENTRIESREAD must be positive or -1")
	errBusyGroup   = resp.Err("BUSYGROUP Consumer Group name already exists")
)

// badSubcommand returns the refusal of arguments that do not fit the subcommand argv[1].
func badSubcommand(argv [][]byte) *resp.Value {
	e := resp.Err("ERR unknown subcommand or wrong number of arguments for '" + command.Printable(argv[1], 128) +
		"'. Try " + strings.ToUpper(string(argv[0])) + " HELP.")
	return &e
}

// xgroupOptions holds the options of XGROUP CREATE and SETID.
type xgroupOptions struct {
	mkStream    bool
	entriesRead int64
}

// parseXGroupOptions reads the options of XGROUP CREATE, or of SETID when create is false.
func parseXGroupOptions(argv [][]byte, create bool) (o xgroupOptions, refusal *resp.Value) {
	o.entriesRead = unknownRead
	for i := 5; i < len(argv); i++ {
		switch {
		case create && command.IsWord(argv[i], "MKSTREAM"):
			o.mkStream = true
		case command.IsWord(argv[i], "ENTRIESREAD") && i+1 < len(argv):
			i++
			n, ok := command.ParseInt(argv[i])
			if !ok {
				return o, &command.ErrNotInteger
			}
			if n < 0 && n != unknownRead {
				return o, &errEntriesRead
			}
			o.entriesRead = n
		default:
			return o, badSubcommand(argv)
		}
	}
	return o, nil
}

// xgroupTarget returns the stream and the group that a subcommand of XGROUP names. A missing
// stream is refused; a missing group is nil.
func (tx *Tx) xgroupTarget(argv [][]byte) (*Head, *group, *resp.Value, error) {
	h, g, refusal, err := tx.streamGroup(argv[2], argv[3])
	if h == nil && refusal == nil && err == nil {
		refusal = &errXGroupNoKey
	}
	return h, g, refusal, err
}
