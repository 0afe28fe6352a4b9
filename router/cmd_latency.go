package router

import (
	"fmt"
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// latencyLines are LATENCY and its subcommands. They show how long commands took on this
// node: an event is a kind of slow command, and a sample is the slowest in a second.
func latencyLines() []line {
	return []line{container("latency", "server", "2.8.13", "Commands about how long commands took on this node.",
		serverLine("latest", 2, operator, "2.8.13", "Shows the newest sample of each event.", runLatencyLatest).tips("nondeterministic_output"),
		serverLine("history event", 3, operator, "2.8.13", "Shows the samples of an event.", runLatencyHistory).tips("nondeterministic_output"),
		serverLine("reset [event...]", -2, operator, "2.8.13", "Forgets the samples of the named events, or all.", runLatencyReset),
		serverLine("doctor", 2, operator, "2.8.13", "Sums up the samples in sentences.", runLatencyDoctor).tips("nondeterministic_output"),
		serverLine("graph event", 3, operator, "2.8.13", "Draws the samples of an event.", runLatencyGraph).tips("nondeterministic_output"),
		serverLine("histogram [command...]", -2, operator, "7.0.0", "Counts the calls of each command by duration.", runLatencyHistogram).
			costs("O(N) for N commands in the reply.").tips("nondeterministic_output"),
		helpLine("2.8.13", latencyHelp),
	)}
}

var latencyHelp = []string{
	"LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"DOCTOR",
	"    Sums up the samples in sentences.",
	"GRAPH <event>",
	"    Draws the samples of <event>.",
	"HISTORY <event>",
	"    Shows the samples of <event>: pairs of a time and milliseconds.",
	"LATEST",
	"    Shows the newest sample of each event.",
	"RESET [<event> ...]",
	"    Forgets the samples of each <event>, or all samples if none is named.",
	"HISTOGRAM [COMMAND ...]",
	"    Counts the calls of each COMMAND by duration; without one, those of all commands.",
	"HELP",
	"    Shows this list.",
}

// LATENCY LATEST
func runLatencyLatest(c *conn, q *request, _ [][]byte) {
	var out []resp.Value
	for _, name := range c.r.events.names() {
		samples, maxMS := c.r.events.history(name)
		if len(samples) == 0 {
			continue // LATENCY RESET came in between
		}
		last := samples[len(samples)-1]
		out = append(out, resp.Array(resp.BulkString(name), resp.Int(last.unix), resp.Int(last.ms), resp.Int(maxMS)))
	}
	c.answer(q, resp.Array(out...))
}

// LATENCY HISTORY event
func runLatencyHistory(c *conn, q *request, argv [][]byte) {
	var out []resp.Value
	samples, _ := c.r.events.history(string(argv[2]))
	for _, s := range samples {
		out = append(out, resp.Array(resp.Int(s.unix), resp.Int(s.ms)))
	}
	c.answer(q, resp.Array(out...))
}

// LATENCY GRAPH event
func runLatencyGraph(c *conn, q *request, argv [][]byte) {
	samples, maxMS := c.r.events.history(string(argv[2]))
	if len(samples) == 0 {
		c.refuse(q, "ERR No samples available for event '"+string(cut(argv[2], maxEcho))+"'")
		return
	}
	c.answer(q, resp.Verbatim(latencyGraph(string(argv[2]), samples, maxMS, time.Now().Unix())))
}

// LATENCY RESET [event …]
func runLatencyReset(c *conn, q *request, argv [][]byte) {
	names := make([]string, len(argv)-2)
	for i, w := range argv[2:] {
		names[i] = string(w)
	}
	c.answer(q, resp.Int(int64(c.r.events.reset(names...))))
}

// LATENCY DOCTOR
func runLatencyDoctor(c *conn, q *request, _ [][]byte) {
	var b strings.Builder
	names := c.r.events.names()
	threshold := c.r.settings.latencyMS.Load()
	switch {
	case threshold == 0 && len(names) == 0:
		b.WriteString("Latency monitoring is disabled on this node. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n")
	case len(names) == 0:
		fmt.Fprintf(&b, "No command of this node's clients took %d ms or longer.\n", threshold)
	}
	for _, name := range names {
		samples, maxMS := c.r.events.history(name)
		var sum int64
		for _, s := range samples {
			sum += s.ms
		}
		fmt.Fprintf(&b, "%s: %d seconds with slow commands, the longest of each took %d ms on average, %d ms at most.\n",
			name, len(samples), sum/int64(max(len(samples), 1)), maxMS)
	}
	if len(names) > 0 {
		b.WriteString("SLOWLOG GET shows commands. A command waits for fsync on a majority of its shard's replicas: " +
			"compare the disks' and the network's latency first (metrics of each node, millrace status).\n")
	}
	c.answer(q, resp.Verbatim(b.String()))
}

// LATENCY HISTOGRAM [command …]
func runLatencyHistogram(c *conn, q *request, argv [][]byte) {
	var cmds []*command.Command
	for _, w := range argv[2:] {
		if cmd := c.r.named(w); cmd != nil {
			cmds = append(cmds, cmd)
			if len(cmd.Subcommands) > 0 {
				cmds = append(cmds, cmd.Subcommands...)
			}
		}
	}
	if len(argv) == 2 {
		for _, cmd := range c.r.sorted() {
			cmds = append(append(cmds, cmd), cmd.Subcommands...)
		}
	}
	var out []resp.Value
	for _, cmd := range cmds {
		h := c.r.stats.byCommand[cmd].latency.Load()
		if h == nil || h.count() == 0 {
			continue
		}
		var pairs []resp.Value
		h.powers(func(power int, below int64) {
			// The upper end of a bucket as Redis names it: 1, 2, 4, 8, 16, 33, 66, 132 µs …
			end := (int64(1)<<power + int64(1)<<(power-7) - 1) / 1000
			pairs = append(pairs, resp.Int(end), resp.Int(below))
		})
		out = append(out, resp.BulkString(cmd.Name), resp.Map(
			resp.BulkString("calls"), resp.Int(h.count()), resp.BulkString("histogram_usec"), resp.Map(pairs...)))
	}
	c.answer(q, resp.Map(out...))
}
