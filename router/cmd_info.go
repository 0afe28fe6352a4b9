package router

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace/resp"
	"millrace/stream"
)

// infoLines are the commands about the server.
func infoLines() []line {
	cmd := func(name string, arity int, flags stream.Flags, group, since, summary string, run handler) line {
		return line{cmd: stream.Command{
			Name: name, Arity: arity, Flags: flags | stream.Loading | stream.Stale, Categories: categories(flags, ""),
			Since: since, Summary: summary, Complexity: "O(1)", Group: group,
		}, run: run}
	}
	config := cmd("config", -2, 0, "server", "2.0.0", "A container for server configuration commands.", nil)
	config.subs = []line{
		cmd("get", -3, stream.Admin|stream.NoScript, "", "2.0.0", "Returns the effective values of configuration parameters.", runConfigGet),
		cmd("set", -4, stream.Admin|stream.NoScript, "", "2.0.0", "Refused: parameters are set where Millrace is started.", runConfigSet),
		cmd("resetstat", 2, stream.Admin|stream.NoScript, "", "2.0.0", "Resets the server's statistics.", runConfigResetStat),
		cmd("help", 2, 0, "", "5.0.0", "Returns helpful text about the different subcommands.", help(configHelp)),
	}
	dbsize := cmd("dbsize", 1, stream.ReadOnly|stream.Fast, "server", "1.0.0", "Returns the number of keys in the cluster.", runDBSize)
	dbsize.cmd.Flags = stream.ReadOnly | stream.Fast
	dbsize.cmd.Categories = []string{"keyspace", "read", "fast"}
	return []line{
		dbsize,
		cmd("info", -1, 0, "server", "1.0.0", "Returns information and statistics about the server.", runInfo),
		cmd("time", 1, stream.Fast, "server", "2.6.0", "Returns the server time.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, timeNow()) }),
		cmd("role", 1, stream.NoScript|stream.Fast, "server", "2.8.12", "Returns the replication role.",
			func(c *conn, q *request, _ [][]byte) {
				c.answer(q, resp.Array(resp.BulkString("master"), resp.Int(0), resp.Array()))
			}),
		cmd("lolwut", -1, stream.Fast, "server", "5.0.0", "Displays computer art and the server version.", runLolwut),
		config,
	}
}

// LOLWUT [VERSION version]: a mill race, by way of a sine.
func runLolwut(c *conn, q *request, _ [][]byte) {
	var b strings.Builder
	for y := range 5 {
		for x := range 60 {
			switch d := 2 + 1.6*math.Sin(float64(x)/6) - float64(y); {
			case math.Abs(d) < 0.5:
				b.WriteByte('~')
			case d < 0:
				b.WriteByte('=')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nMillrace ver. %s, Redis ver. %s\n", c.r.version, RedisVersion)
	c.answer(q, resp.Verbatim(b.String()))
}

// The sections of INFO, in order; those of "default", and those only of "all".
var (
	infoDefault = []string{"server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "errorstats", "cluster", "keyspace", "millrace"}
	infoAll     = []string{"server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats", "errorstats", "cluster", "keyspace", "millrace"}
)

// INFO [section …]
func runInfo(c *conn, q *request, argv [][]byte) {
	var sections []string
	for _, w := range argv[1:] {
		switch name := strings.ToLower(string(cut(w, maxEcho))); name {
		case "default":
			sections = append(sections, infoDefault...)
		case "all", "everything":
			sections = append(sections, infoAll...)
		default:
			sections = append(sections, name)
		}
	}
	if len(argv) == 1 {
		sections = infoDefault
	}
	var b strings.Builder
	for _, s := range infoAll {
		if !slices.Contains(sections, s) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + strings.ToUpper(s[:1]) + s[1:] + "\r\n")
		for _, f := range c.r.infoSection(s) {
			b.WriteString(f.Name + ":" + f.Value + "\r\n")
		}
	}
	c.answer(q, resp.Verbatim(b.String()))
}

// infoSection returns what the router knows for a section, with the node's fields put
// over it.
func (r *Router) infoSection(name string) []InfoField {
	fields := r.ownInfo(name)
	for _, f := range r.info(name) {
		if i := slices.IndexFunc(fields, func(o InfoField) bool { return o.Name == f.Name }); i >= 0 {
			fields[i] = f
		} else {
			fields = append(fields, f)
		}
	}
	return fields
}

// ownInfo returns the router's fields of a section.
func (r *Router) ownInfo(name string) []InfoField {
	var out []InfoField
	add := func(name string, value any) { out = append(out, InfoField{name, fmt.Sprint(value)}) }
	s := r.stats
	switch name {
	case "server":
		up := time.Since(r.start)
		add("redis_version", RedisVersion)
		add("millrace_version", r.version)
		add("redis_mode", "cluster")
		add("os", runtime.GOOS+" "+runtime.GOARCH)
		add("arch_bits", strconv.IntSize)
		add("go_version", runtime.Version())
		add("process_id", os.Getpid())
		add("run_id", r.self)
		add("tcp_port", port(r.Addr().String()))
		add("server_time_usec", time.Now().UnixMicro())
		add("uptime_in_seconds", int64(up.Seconds()))
		add("uptime_in_days", int64(up.Hours()/24))
	case "clients":
		r.mu.Lock()
		connected, blocked := len(r.conns), r.blocked
		r.mu.Unlock()
		add("connected_clients", connected)
		add("cluster_connections", 0)
		add("maxclients", r.lim.Connections)
		add("blocked_clients", blocked)
		add("tracking_clients", 0)
	case "memory":
		used := usedMemory()
		add("used_memory", used)
		add("used_memory_human", human(used))
		add("maxmemory", 0)
		add("maxmemory_human", "0B")
		add("maxmemory_policy", "noeviction")
	case "persistence":
		add("loading", 0)
		add("async_loading", 0)
		add("rdb_changes_since_last_save", 0)
		add("rdb_bgsave_in_progress", 0)
		add("aof_enabled", 1)
		add("aof_rewrite_in_progress", 0)
		add("aof_rewrite_scheduled", 0)
		add("aof_last_write_status", "ok")
	case "stats":
		add("total_connections_received", s.connections.Load())
		add("total_commands_processed", s.commands.Load())
		add("total_net_input_bytes", s.bytesIn.Load())
		add("total_net_output_bytes", s.bytesOut.Load())
		add("rejected_connections", s.rejected.Load())
		add("total_error_replies", s.errorReplies.Load())
		add("acl_access_denied_auth", s.authFailures.Load())
		add("client_output_buffer_limit_disconnections", s.outputLimit.Load())
	case "replication":
		add("role", "master")
		add("connected_slaves", 0)
		add("master_replid", r.self)
		add("master_repl_offset", 0)
	case "cpu":
		sys, user := cpuTimes()
		add("used_cpu_sys", fmt.Sprintf("%.6f", sys.Seconds()))
		add("used_cpu_user", fmt.Sprintf("%.6f", user.Seconds()))
	case "commandstats":
		for _, cmd := range r.sorted() {
			for _, one := range append([]*stream.Command{cmd}, cmd.Subcommands...) {
				c := s.byCommand[one]
				calls, rejected := c.calls.Load(), c.rejected.Load()
				if calls+rejected == 0 {
					continue
				}
				usec := c.nanos.Load() / 1000
				add("cmdstat_"+one.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
					calls, usec, float64(usec)/float64(max(calls, 1)), rejected, c.failed.Load()))
			}
		}
	case "errorstats":
		s.mu.Lock()
		for word, n := range s.errors {
			add("errorstat_"+word, fmt.Sprintf("count=%d", n))
		}
		s.mu.Unlock()
		slices.SortFunc(out, func(a, b InfoField) int { return strings.Compare(a.Name, b.Name) })
	case "cluster":
		add("cluster_enabled", 1)
	case "millrace":
		add("calls_clusterdown", s.noLeader.Load())
		add("calls_tryagain", s.timedOut.Load())
		add("calls_overloaded", s.overloaded.Load())
		add("calls_indoubt", s.inDoubt.Load())
		add("calls_abandoned", s.abandoned.Load())
	}
	return out
}

// usedMemory returns the bytes that the Go runtime holds from the system.
func usedMemory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// cpuTimes returns what the process has used.
func cpuTimes() (sys, user time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	return time.Duration(u.Stime.Nano()), time.Duration(u.Utime.Nano())
}

// human shows bytes as INFO does: 1.92M.
func human(n uint64) string {
	f, units := float64(n), "BKMGT"
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.2f%c", f, units[0])
}

// port returns the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

var configHelp = []string{
	"CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET <pattern>",
	"    Return parameters matching the glob-like <pattern> and their values.",
	"RESETSTAT",
	"    Reset statistics reported by the INFO command.",
	"SET <directive> <value>",
	"    Refused: parameters are set where Millrace is started.",
	"HELP",
	"    Print this help.",
}

// config returns the parameters of Redis that clients and tools ask for, by name.
func (r *Router) config() []InfoField {
	return []InfoField{
		{"appendfsync", "always"}, {"appendonly", "yes"}, {"cluster-enabled", "yes"}, {"databases", "1"},
		{"maxclients", strconv.Itoa(r.lim.Connections)}, {"maxmemory", "0"}, {"maxmemory-policy", "noeviction"},
		{"port", port(r.Addr().String())}, {"proto-max-bulk-len", strconv.Itoa(r.lim.Input.MaxBulk)},
		{"protected-mode", "yes"}, {"replica-read-only", "yes"}, {"save", ""}, {"slave-read-only", "yes"},
		{"timeout", strconv.Itoa(int(r.lim.IdleTimeout.Seconds()))},
	}
}

// CONFIG GET pattern …
func runConfigGet(c *conn, q *request, argv [][]byte) {
	var out []resp.Value
	for _, f := range c.r.config() {
		if slices.ContainsFunc(argv[2:], func(w []byte) bool { return matches(w, f.Name) }) {
			out = append(out, resp.BulkString(f.Name), resp.BulkString(f.Value))
		}
	}
	c.answer(q, resp.Map(out...))
}

// CONFIG SET parameter value …
func runConfigSet(c *conn, q *request, argv [][]byte) {
	c.refuse(q, "ERR Unknown option or number of arguments for CONFIG SET - '"+string(cut(argv[2], maxEcho))+"'")
}

// CONFIG RESETSTAT
func runConfigResetStat(c *conn, q *request, _ [][]byte) {
	c.r.stats.reset()
	c.answer(q, resp.OK)
}
