package router

import (
	"fmt"
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// latencyLines are LATENCY and its subcommands: how long commands took on this node.
func latencyLines() []line {
	sub := func(name string, arity int, flags command.Flags, since, summary string, run handler) line {
		return serverLine(name, arity, flags, "", since, summary, run)
	}
	const admin = command.Admin | command.NoScript
	latency := serverLine("latency", -2, 0, "server", "2.8.13", "A container for latency diagnostics commands.", nil)
	latency.cmd.Flags = 0
	latency.subs = []line{
		sub("latest", 2, admin, "2.8.13", "Returns the latest latency samples for all events.", runLatencyLatest).tips("nondeterministic_output"),
		sub("history event", 3, admin, "2.8.13", "Returns timestamp-latency samples for an event.", runLatencyHistory).tips("nondeterministic_output"),
		sub("reset [event...]", -2, admin, "2.8.13", "Resets the latency data for one or more events.", runLatencyReset),
		sub("doctor", 2, admin, "2.8.13", "Returns a human-readable latency analysis report.", runLatencyDoctor).tips("nondeterministic_output"),
		sub("graph event", 3, admin, "2.8.13", "Returns a latency graph for an event.", runLatencyGraph).tips("nondeterministic_output"),
		sub("histogram [command...]", -2, admin, "7.0.0", "Returns the cumulative distribution of latencies of a subset or all commands.", runLatencyHistogram).tips("nondeterministic_output"),
		sub("help", 2, 0, "2.8.13", "Returns helpful text about the different subcommands.", help(latencyHelp)),
	}
	return []line{latency}
}

var latencyHelp = []string{
	"LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"DOCTOR",
	"    Return a human readable latency analysis report.",
	"GRAPH <event>",
	"    Return an ASCII latency graph for the <event> class.",
	"HISTORY <event>",
	"    Return time-latency samples for the <event> class.",
	"LATEST",
	"    Return the latest latency samples for all events.",
	"RESET [<event> ...]",
	"    Reset latency data of one or more <event> classes.",
	"    (default: reset all data for all event classes)",
	"HISTOGRAM [COMMAND ...]",
	"    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
	"    If no commands are specified then all histograms are replied.",
	"HELP",
	"    Print this help.",
}

// LATENCY LATEST
func runLatencyLatest(c *conn, q *request, _ [][]byte) {
	var out []resp.Value
	for _, name := range c.r.events.names() {
		samples, maxMS := c.r.events.history(name)
		if len(samples) == 0 {
			continue // reset just now
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
