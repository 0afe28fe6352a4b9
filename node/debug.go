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

// A debugCommand is a subcommand of DEBUG: it looks at this node, or disturbs it, for
// tests. argv is what follows its name.
type debugCommand struct {
	usage   string
	summary string
	min     int // words
	max     int
	run     func(n *Node, ctx context.Context, argv []string) resp.Value
}

var debugCommands = map[string]debugCommand{
	"shardhash": {
		usage:   "SHARDHASH [NOW]",
		summary: "Show digests of the state of this node's replicas, and the applied indexes they are of. NOW takes one of each, which reads all of the state.",
		max:     1, run: debugShardHash,
	},
	"transfer": {
		usage:   "TRANSFER <shard> <node-id>",
		summary: "Hand the leadership of a shard to a node that has a replica with a vote. The controller hands it back when it likes another better.",
		min:     2, max: 2, run: debugTransfer,
	},
	"clock-offset": {
		usage:   "CLOCK-OFFSET [<milliseconds>]",
		summary: "Show, or set, what is added to the system's clock.",
		max:     1, run: debugClockOffset,
	},
}

// maxClockOffsetMS bounds CLOCK-OFFSET: ten years.
const maxClockOffsetMS = 10 * 365 * 24 * 3600 * 1000

// digestEvery is at which indexes the replicas of a node with EnableDebug take digests
// of their states; see shard.Config.
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

// debugShardHash answers, for each replica in the order of the shards, a map:
//
//	shard    its number; 0 is the meta group
//	applied  the applied index
//	index    that of the newest digest, 0 where there is none
//	hash     this digest in hex, SHA-256 of all keys and values
//	marks    pairs of index and digest, oldest first: taken at indexes that other
//	         replicas take them at as well, so that they can be compared under load
//
// Without NOW it reads nothing. The digests it shows cost reading a shard's state (some
// 300 MB/s) every 128 records, or less often where that would take more than a fiftieth
// of the time.
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
			continue // removed meanwhile
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

func debugClockOffset(n *Node, _ context.Context, argv []string) resp.Value {
	if len(argv) == 1 {
		ms, err := strconv.ParseInt(argv[0], 10, 64)
		if err != nil || ms < -maxClockOffsetMS || ms > maxClockOffsetMS {
			return resp.Err("ERR value is not an integer or out of range")
		}
		n.clock.offsetMS.Store(ms)
		n.log.Warn("the clock was set off", "offset_ms", ms)
	}
	return resp.Int(n.clock.offsetMS.Load())
}

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
