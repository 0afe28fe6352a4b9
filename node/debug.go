package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/resp"
	"millrace/shard"
)

// A debugCommand is a subcommand of DEBUG. It shows the inside of this node to tests, or
// disturbs the node.
type debugCommand struct {
	usage   string
	summary string
	min     int // least number of arguments
	max     int // greatest number of arguments
	// run runs the subcommand. argv are its arguments, without its name.
	run func(n *Node, ctx context.Context, argv []string) resp.Value
}

// debugCommands are the subcommands by name in lower case.
var debugCommands = map[string]debugCommand{
	"shardhash": {
		usage:   "SHARDHASH [NOW]",
		summary: "Show digests of the states of this node's replicas, with their applied indexes. NOW takes one of each replica, which reads all of its state.",
		max:     1, run: debugShardHash,
	},
	"transfer": {
		usage:   "TRANSFER <shard> <node-id>",
		summary: "Hand the leadership of a shard to a node that is a voter of the shard. The controller may hand it back to the preferred node later.",
		min:     2, max: 2, run: debugTransfer,
	},
	"clock-offset": {
		usage:   "CLOCK-OFFSET [<milliseconds>]",
		summary: "Show or set the milliseconds that are added to the system's clock.",
		max:     1, run: debugClockOffset,
	},
}

// maxClockOffsetMS is the greatest CLOCK-OFFSET, ten years.
const maxClockOffsetMS = 10 * 365 * 24 * 3600 * 1000

// digestEvery is the DigestEvery of shards on a node with EnableDebug; see shard.Config.
const digestEvery = 128

// debug runs a subcommand of DEBUG.
func (n *Node) debug(ctx context.Context, words [][]byte) resp.Value {
	argv := make([]string, len(words))
	for i, w := range words {
		argv[i] = string(w)
	}
	name := strings.ToLower(argv[0])
	if name == "help" && len(argv) == 1 {
		return debugHelp()
	}
	cmd, ok := debugCommands[name]
	if args := len(argv) - 1; !ok || args < cmd.min || args > cmd.max {
		return resp.Err(fmt.Sprintf("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try DEBUG HELP.", argv[0]))
	}
	return cmd.run(n, ctx, argv[1:])
}

// debugHelp answers the usage and summary of all subcommands.
func debugHelp() resp.Value {
	lines := []resp.Value{resp.Simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")}
	var cmds []debugCommand
	for _, c := range debugCommands {
		cmds = append(cmds, c)
	}
	slices.SortFunc(cmds, func(a, b debugCommand) int { return cmp.Compare(a.usage, b.usage) })
	for _, c := range cmds {
		lines = append(lines, resp.Simple(c.usage), resp.Simple("    "+c.summary))
	}
	return resp.Array(append(lines, resp.Simple("HELP"), resp.Simple("    Print this help."))...)
}

// debugShardHash answers a map for each replica, in the order of the shards:
//
//	shard    the shard's number; 0 is the meta group
//	applied  the applied index
//	index    the index of the newest digest; 0 if there is none
//	hash     the newest digest in hex: SHA-256 of all keys and values
//	marks    pairs of index and digest, oldest first; all replicas take digests at the same
//	         indexes, so that they can be compared under load
//
// With NOW it reads the whole state of every replica. Without NOW it shows the digests that
// were taken every 128 records. Each of those reads the state at some 300 MB/s; they are
// taken less often if they would use more than a fiftieth of the time.
func debugShardHash(n *Node, ctx context.Context, argv []string) resp.Value {
	if len(argv) == 1 && !strings.EqualFold(argv[0], "now") {
		return resp.Err("ERR syntax error")
	}
	ids := make([]uint32, 0, len(n.replicas.all()))
	for id := range n.replicas.all() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var out []resp.Value
	for _, id := range ids {
		s := n.replicas.get(id)
		if s == nil {
			continue // the replica was removed in the meantime
		}
		marks := s.Digests()
		var newest shard.Digest
		if len(marks) > 0 {
			newest = marks[len(marks)-1]
		}
		if len(argv) == 1 {
			index, sum, err := s.Hash(ctx)
			if err != nil {
				return resp.Err("ERR " + err.Error())
			}
			newest = shard.Digest{Index: index, Sum: sum}
		}
		pairs := make([]resp.Value, len(marks))
		for i, m := range marks {
			pairs[i] = resp.Array(resp.Int(int64(m.Index)), resp.BulkString(hex.EncodeToString(m.Sum[:])))
		}
		out = append(out, resp.Map(
			resp.BulkString("shard"), resp.Int(int64(id)),
			resp.BulkString("applied"), resp.Int(int64(s.Applied())),
			resp.BulkString("index"), resp.Int(int64(newest.Index)),
			resp.BulkString("hash"), resp.BulkString(hex.EncodeToString(newest.Sum[:])),
			resp.BulkString("marks"), resp.Array(pairs...),
		))
	}
	return resp.Array(out...)
}

// debugClockOffset sets the clock's offset if argv has one, and answers the offset.
func debugClockOffset(n *Node, _ context.Context, argv []string) resp.Value {
	if len(argv) == 1 {
		ms, err := strconv.ParseInt(argv[0], 10, 64)
		if err != nil || ms < -maxClockOffsetMS || ms > maxClockOffsetMS {
			return resp.Err("ERR value is not an integer or out of range")
		}
		n.clock.offsetMS.Store(ms)
		n.log.Warn("DEBUG changed the offset of the clock", "offset_ms", ms)
	}
	return resp.Int(n.clock.offsetMS.Load())
}

// debugTransfer transfers the leadership of a shard.
func debugTransfer(n *Node, ctx context.Context, argv []string) resp.Value {
	id, err := strconv.ParseUint(argv[0], 10, 32)
	if err != nil {
		return resp.Err("ERR value is not an integer or out of range")
	}
	if err := (world{n}).Transfer(ctx, uint32(id), argv[1]); err != nil {
		return resp.Err("ERR " + err.Error())
	}
	return resp.OK
}
