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

	"millrace/command"
	"millrace/resp"
)

// infoLines are the commands about the server.
func infoLines() []line {
	cmd := func(name string, arity int, flags command.Flags, group, since, summary string, run handler) line {
		return line{cmd: command.Command{
			Name: name, Arity: arity, Flags: flags | command.Loading | command.Stale, Categories: categories(flags, ""),
			Since: since, Summary: summary, Complexity: "O(1)", Group: group,
		}, run: run}
	}
	dbsize := cmd("dbsize", 1, command.ReadOnly|command.Fast, "server", "1.0.0", "Returns the number of keys in the cluster.", runDBSize)
	dbsize.cmd.Flags = command.ReadOnly | command.Fast
	dbsize.cmd.Categories = []string{"keyspace", "read", "fast"}
	return []line{
		dbsize,
		inCategories(cmd("info [section...]", -1, 0, "server", "1.0.0", "Returns information and statistics about the server.", runInfo), "slow", "dangerous").tips("nondeterministic_output").history(
			"7.0.0 Added support for taking multiple section arguments."),
		cmd("time", 1, command.Fast, "server", "2.6.0", "Returns the server time.",
			func(c *conn, q *request, _ [][]byte) { c.answer(q, timeNow()) }).tips("nondeterministic_output"),
		inCategories(cmd("role", 1, command.NoScript|command.Fast, "server", "2.8.12", "Returns the replication role.",
			func(c *conn, q *request, _ [][]byte) {
				c.answer(q, resp.Array(resp.BulkString("master"), resp.Int(0), resp.Array()))
			}), "admin", "fast", "dangerous"),
		runningOnly(inCategories(cmd("lolwut [VERSION version:int]", -1, command.ReadOnly|command.Fast, "server", "5.0.0", "Displays computer art and the server version.", runLolwut), "read", "fast")),
	}
}

// inCategories returns a line with other ACL categories than its flags tell.
func inCategories(l line, categories ...string) line {
	l.cmd.Categories = categories
	return l
}

// LOLWUT [VERSION version]: a mill race, by way of a sine.
func runLolwut(c *conn, q *request, argv [][]byte) {
	if len(argv) >= 3 && command.IsWord(argv[1], "VERSION") {
		if _, ok := command.ParseInt(argv[2]); !ok {
			c.refuse(q, textNotInt)
			return
		}
	}
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
	infoAll     = []string{"server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats", "errorstats", "latencystats", "cluster", "keyspace", "millrace"}
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
		b.WriteString("# " + infoTitle(s) + "\r\n")
		for _, f := range c.r.infoSection(s) {
			b.WriteString(f.Name + ":" + f.Value + "\r\n")
		}
	}
	c.answer(q, resp.Verbatim(b.String()))
}

// infoTitle is a section's name as its first line has it.
func infoTitle(section string) string {
	if section == "cpu" {
		return "CPU"
	}
	return strings.ToUpper(section[:1]) + section[1:]
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
	if name == "memory" {
		r.setPeak(fields)
	}
	for i, f := range fields {
		bytes, ok := strings.CutSuffix(f.Name, "_human")
		if j := slices.IndexFunc(fields, func(o InfoField) bool { return o.Name == bytes }); ok && j >= 0 {
			if n, err := strconv.ParseUint(fields[j].Value, 10, 64); err == nil {
				fields[i].Value = human(n)
			}
		}
	}
	return fields
}

// setPeak fills in the peak of the memory that fields say is used.
func (r *Router) setPeak(fields []InfoField) {
	field := func(name string) *string {
		return &fields[slices.IndexFunc(fields, func(f InfoField) bool { return f.Name == name })].Value
	}
	used, err := strconv.ParseUint(*field("used_memory"), 10, 64)
	if err != nil {
		return // the node says something else than a number
	}
	peak := r.peakMemory(used)
	*field("used_memory_peak") = strconv.FormatUint(peak, 10)
	*field("used_memory_peak_perc") = fmt.Sprintf("%.2f%%", 100*float64(used)/float64(max(peak, 1)))
}

// infoField returns one field of a section, or a value for where it is not there.
func (r *Router) infoField(section, name, missing string) string {
	for _, f := range r.infoSection(section) {
		if f.Name == name {
			return f.Value
		}
	}
	return missing
}

// ownInfo returns the router's fields of a section, by Redis's names. What Millrace does
// not have is told with the value that says so in Redis: no replica of Redis's kind, no
// child process, nothing evicted.
func (r *Router) ownInfo(name string) []InfoField {
	var out []InfoField
	add := func(name string, value any) { out = append(out, InfoField{name, fmt.Sprint(value)}) }
	zero := func(names ...string) {
		for _, name := range names {
			add(name, 0)
		}
	}
	s := r.stats
	switch name {
	case "server":
		up := time.Since(r.start)
		exe, _ := os.Executable() // shown as empty where it is not known
		add("redis_version", RedisVersion)
		add("redis_git_sha1", "00000000")
		add("redis_git_dirty", 0)
		add("redis_build_id", "0")
		add("millrace_version", r.version)
		add("redis_mode", "cluster")
		add("os", runtime.GOOS+" "+runtime.GOARCH)
		add("arch_bits", strconv.IntSize)
		add("monotonic_clock", "Go runtime")
		add("multiplexing_api", "Go runtime")
		add("atomicvar_api", "Go runtime")
		add("go_version", runtime.Version())
		add("process_id", os.Getpid())
		add("process_supervised", "no")
		add("run_id", r.self)
		add("tcp_port", port(r.Addr().String()))
		add("server_time_usec", time.Now().UnixMicro())
		add("uptime_in_seconds", int64(up.Seconds()))
		add("uptime_in_days", int64(up.Hours()/24))
		add("executable", exe)
		add("config_file", "")
		add("io_threads_active", 0)
	case "clients":
		r.mu.Lock()
		connected, blocked := len(r.conns), r.blocked
		r.mu.Unlock()
		sizes := r.clientSizes()
		what, left := r.pausing.left()
		add("connected_clients", connected)
		add("cluster_connections", 0)
		add("maxclients", r.settings.maxClients.Load())
		add("client_recent_max_input_buffer", sizes.in)
		add("client_recent_max_output_buffer", sizes.out)
		add("blocked_clients", blocked)
		add("tracking_clients", sizes.tracked)
		add("pubsub_clients", 0)
		add("clients_in_timeout_table", 0)
		if what != "none" {
			add("paused_reason", "client_pause")
			add("paused_actions", what)
			add("paused_timeout_milliseconds", left.Milliseconds())
		} else {
			add("paused_reason", "none")
			add("paused_actions", "none")
			add("paused_timeout_milliseconds", 0)
		}
	case "memory":
		used := usedMemory()
		add("used_memory", used)
		add("used_memory_human", human(used))
		add("used_memory_rss", used)
		add("used_memory_rss_human", human(used))
		zero("used_memory_peak", "used_memory_peak_human", "used_memory_peak_perc") // see setPeak
		zero("used_memory_lua", "used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts",
			"number_of_functions", "number_of_libraries", "used_memory_vm_functions", "used_memory_vm_total",
			"used_memory_functions", "used_memory_scripts")
		add("maxmemory", 0)
		add("maxmemory_human", "0B")
		add("maxmemory_policy", "noeviction")
		zero("mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers",
			"mem_clients_slaves")
		add("mem_clients_normal", r.clientSizes().bytes)
		zero("mem_cluster_links", "mem_aof_buffer")
		add("mem_allocator", "go")
		zero("active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects")
	case "persistence":
		now := time.Now().Unix()
		zero("loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age")
		add("current_fork_perc", "0.00")
		zero("current_save_keys_processed", "current_save_keys_total", "rdb_changes_since_last_save", "rdb_bgsave_in_progress")
		add("rdb_last_save_time", now) // what was acknowledged is on disk: see LASTSAVE
		add("rdb_last_bgsave_status", "ok")
		add("rdb_last_bgsave_time_sec", -1)
		add("rdb_current_bgsave_time_sec", -1)
		zero("rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded")
		add("aof_enabled", 1)
		zero("aof_rewrite_in_progress", "aof_rewrite_scheduled")
		add("aof_last_rewrite_time_sec", -1)
		add("aof_current_rewrite_time_sec", -1)
		add("aof_last_bgrewrite_status", "ok")
		zero("aof_rewrites", "aof_rewrites_consecutive_failures")
		add("aof_last_write_status", "ok") // a log that cannot be written ends the process
		zero("aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size", "aof_pending_rewrite",
			"aof_buffer_length", "aof_pending_bio_fsync", "aof_delayed_fsync")
	case "stats":
		add("total_connections_received", s.connections.Load())
		add("total_commands_processed", s.commands.Load())
		ops, in, out := s.rate.perSecond()
		add("instantaneous_ops_per_sec", ops)
		add("total_net_input_bytes", s.bytesIn.Load())
		add("total_net_output_bytes", s.bytesOut.Load())
		zero("total_net_repl_input_bytes", "total_net_repl_output_bytes")
		add("instantaneous_input_kbps", fmt.Sprintf("%.2f", float64(in)/1024))
		add("instantaneous_output_kbps", fmt.Sprintf("%.2f", float64(out)/1024))
		add("instantaneous_input_repl_kbps", "0.00")
		add("instantaneous_output_repl_kbps", "0.00")
		add("rejected_connections", s.rejected.Load())
		zero("sync_full", "sync_partial_ok", "sync_partial_err", "evicted_keys", "evicted_clients",
			"total_eviction_exceeded_time", "current_eviction_exceeded_time",
			"pubsub_channels", "pubsub_patterns", "pubsubshard_channels", "latest_fork_usec", "total_forks",
			"migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses",
			"active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time",
			"tracking_total_keys", "tracking_total_items", "tracking_total_prefixes", "unexpected_error_replies")
		add("total_error_replies", s.errorReplies.Load())
		zero("dump_payload_sanitizations")
		add("total_reads_processed", s.reads.Load())
		add("total_writes_processed", s.writes.Load())
		zero("io_threaded_reads_processed", "io_threaded_writes_processed")
		add("acl_access_denied_auth", s.authFailures.Load())
		zero("acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel")
		zero("client_query_buffer_limit_disconnections")
		add("client_output_buffer_limit_disconnections", s.outputLimit.Load())
	case "replication":
		add("role", "master")
		add("connected_slaves", 0) // of Redis's kind; replicas of shards are in CLUSTER SHARDS
		add("master_failover_state", "no-failover")
		add("master_replid", r.self)
		add("master_replid2", "0000000000000000000000000000000000000000")
		add("master_repl_offset", 0)
		add("second_repl_offset", -1)
		zero("repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen")
	case "cpu":
		sys, user := cpuTimes()
		add("used_cpu_sys", fmt.Sprintf("%.6f", sys.Seconds()))
		add("used_cpu_user", fmt.Sprintf("%.6f", user.Seconds()))
		add("used_cpu_sys_children", "0.000000")
		add("used_cpu_user_children", "0.000000")
	case "commandstats":
		r.eachCommand(func(cmd *command.Command, c *commandStats) {
			calls, rejected := c.calls.Load(), c.rejected.Load()
			if calls+rejected == 0 {
				return
			}
			usec := c.nanos.Load() / 1000
			add("cmdstat_"+cmd.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
				calls, usec, float64(usec)/float64(max(calls, 1)), rejected, c.failed.Load()))
		})
	case "errorstats":
		s.mu.Lock()
		for word, n := range s.errors {
			add("errorstat_"+word, fmt.Sprintf("count=%d", n))
		}
		s.mu.Unlock()
		slices.SortFunc(out, func(a, b InfoField) int { return strings.Compare(a.Name, b.Name) })
	case "latencystats":
		r.eachCommand(func(cmd *command.Command, c *commandStats) {
			h := c.latency.Load()
			if h == nil || h.count() == 0 {
				return
			}
			micros := func(q float64) float64 { return float64(h.quantile(q)) / 1000 }
			add("latency_percentiles_usec_"+cmd.Name, fmt.Sprintf("p50=%.3f,p99=%.3f,p99.9=%.3f", micros(0.5), micros(0.99), micros(0.999)))
		})
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

// eachCommand calls fn for every command and subcommand, by name.
func (r *Router) eachCommand(fn func(*command.Command, *commandStats)) {
	for _, cmd := range r.sorted() {
		for _, one := range append([]*command.Command{cmd}, cmd.Subcommands...) {
			fn(one, r.stats.byCommand[one])
		}
	}
}

// clientSizes is what INFO tells of all clients.
type clientSizes struct {
	in, out int // the largest bytes of commands, and of replies, that wait now
	bytes   int // the sum of both over all clients
	tracked int // clients that said CLIENT TRACKING ON
}

func (r *Router) clientSizes() (s clientSizes) {
	for _, c := range r.clients() {
		c.mu.Lock()
		s.in, s.out = max(s.in, c.inBytes), max(s.out, c.outBytes)
		s.bytes += c.inBytes + c.outBytes
		if c.tracking.on {
			s.tracked++
		}
		c.mu.Unlock()
	}
	return s
}

// peakMemory returns the most memory that anybody has seen in use.
func (r *Router) peakMemory(used uint64) uint64 {
	for {
		peak := r.stats.peak.Load()
		if used <= peak {
			return peak
		}
		if r.stats.peak.CompareAndSwap(peak, used) {
			return used
		}
	}
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
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, units := float64(n), "BKMGT"
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.2f%c", f, units[0])
}

// port returns the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// host returns the host of an address.
func host(addr string) string {
	h, _, _ := strings.Cut(addr[:strings.LastIndexByte(addr, ':')], "%")
	return strings.Trim(h, "[]")
}
