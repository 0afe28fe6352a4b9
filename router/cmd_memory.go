package router

import (
	"runtime/metrics"

	"millrace/call"
	"millrace/resp"
)

// memoryLines are the subcommands of MEMORY about this node. The state machine runs
// MEMORY USAGE.
func memoryLines() []line {
	sub := func(name, summary string, run handler) line {
		return serverLine(name, 2, 0, "4.0.0", summary, run).runningOnly()
	}
	return []line{container("memory", "server", "4.0.0", "Commands about the use of memory.",
		sub("doctor", "Tells where the use of memory is shown.", runMemoryDoctor).tips("nondeterministic_output"),
		helpLine("4.0.0", memoryHelp),
		sub("malloc-stats", "Says that there are no allocator statistics.", runMemoryMallocStats).tips("nondeterministic_output"),
		sub("purge", "Does nothing: the runtime gives memory back by itself.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.OK) }),
		sub("stats", "Shows the memory that this node uses, and counts the keys.", runMemoryStats).
			costs("O(S) for S shards.").tips("nondeterministic_output"),
	)}
}

var memoryHelp = []string{
	"MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"DOCTOR",
	"    Tells where the use of memory is shown.",
	"MALLOC-STATS",
	"    Says that there are no allocator statistics.",
	"PURGE",
	"    Does nothing: the runtime gives memory back by itself.",
	"STATS",
	"    Shows the memory that this node uses, and counts the keys.",
	"USAGE <key> [SAMPLES <count>]",
	"    Estimates the bytes that <key> takes.",
	"HELP",
	"    Shows this list.",
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

// MEMORY STATS: the memory that this node uses, and the number of keys that the connection sees.
func runMemoryStats(c *conn, q *request, _ [][]byte) {
	calls, refusal := c.seenShards("_DBSIZE")
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
