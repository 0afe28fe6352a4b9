package router

import (
	"runtime/metrics"

	"millrace/call"
	"millrace/command"
	"millrace/resp"
)

// memoryLines are the subcommands of MEMORY about this node; USAGE is the state
// machine's.
func memoryLines() []line {
	sub := func(name, summary string, run handler) line {
		return line{cmd: command.Command{
			Name: name, Arity: 2, Categories: []string{"slow"}, Since: "4.0.0", Summary: summary, Complexity: "O(1)",
		}, run: run}
	}
	helpLine := sub("help", "Returns helpful text about the different subcommands.", help(memoryHelp))
	helpLine.cmd.Flags = command.Loading | command.Stale
	return []line{{
		cmd: command.Command{Name: "memory", Arity: -2, Categories: []string{"slow"}, Since: "4.0.0",
			Summary: "A container for memory diagnostics commands.", Complexity: "Depends on subcommand.", Group: "server"},
		subs: []line{
			sub("doctor", "Outputs a memory problems report.", runMemoryDoctor).tips("nondeterministic_output"),
			helpLine,
			sub("malloc-stats", "Says that there are no allocator statistics.", runMemoryMallocStats).tips("nondeterministic_output"),
			sub("purge", "Does nothing: the runtime gives memory back by itself.",
				func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.OK) }),
			sub("stats", "Returns details about memory usage.", runMemoryStats).tips("nondeterministic_output"),
		},
	}}
}

var memoryHelp = []string{
	"MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"DOCTOR",
	"    Return memory problems reports.",
	"MALLOC-STATS",
	"    Return internal statistics report from the memory allocator.",
	"PURGE",
	"    Attempt to purge dirty pages for reclamation by the allocator.",
	"STATS",
	"    Return information about the memory usage of the server.",
	"USAGE <key> [SAMPLES <count>]",
	"    Return memory in bytes used by <key> and its value. Nested values are",
	"    sampled up to <count> times (default: 5, 0 means sample all).",
	"HELP",
	"    Print this help.",
}

// MEMORY DOCTOR
func runMemoryDoctor(c *conn, q *request, _ [][]byte) {
	c.answer(q, resp.Verbatim("Data is on disk, and memory holds caches of a bounded size: there is nothing here to go wrong as in Redis. "+
		"What this node uses is in INFO memory, and its bound is the setting memory.\n"))
}

// MEMORY MALLOC-STATS
func runMemoryMallocStats(c *conn, q *request, _ [][]byte) {
	c.answer(q, resp.Verbatim("Stats not supported for the current allocator"))
}

// MEMORY STATS: what this node uses, and the keys of the cluster.
func runMemoryStats(c *conn, q *request, _ [][]byte) {
	calls, refusal := c.r.everyShard("_DBSIZE")
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.spread(q, call.Read, calls, func(q *request) []byte {
		keys, reply := sumOf(q)
		if reply != nil {
			return reply
		}
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
		metrics.Read(sample)
		n := func(v uint64) resp.Value { return resp.Int(int64(v)) }
		return encode(resp.Map(
			resp.BulkString("total.allocated"), n(usedMemory()),
			resp.BulkString("total.mapped"), n(sample[1].Value.Uint64()),
			resp.BulkString("heap.objects"), n(sample[0].Value.Uint64()),
			resp.BulkString("keys.count"), resp.Int(keys),
		), q.proto)
	})
}
