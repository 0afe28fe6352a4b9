package router

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace/command"
)

// infoSection is one section of INFO.
type infoSection struct {
	name  string // the argument that asks for it; Config.Info is asked by this name, too
	title string // its heading: "# Server"
	// byDefault sections are in "default", which is also the answer to INFO without an
	// argument. "all" and "everything" have every section.
	byDefault bool
	// fill adds the router's own fields; nil: the router has none, only the node.
	fill func(r *Router, f *infoFields)
}

// infoSections are the sections in the order of the reply, which is Redis's. The names
// of fields are Redis's as well. A field about something that Millrace does not have
// holds the value that means "none" in Redis: there are no replicas of Redis's kind, no
// child processes and no evictions.
var infoSections = []infoSection{
	{"server", "Server", true, infoServer},
	{"clients", "Clients", true, infoClients},
	{"memory", "Memory", true, infoMemory},
	{"persistence", "Persistence", true, infoPersistence},
	{"stats", "Stats", true, infoStats},
	{"replication", "Replication", true, infoReplication},
	{"cpu", "CPU", true, infoCPU},
	{"modules", "Modules", true, nil},
	{"commandstats", "Commandstats", false, infoCommandStats},
	{"errorstats", "Errorstats", true, infoErrorStats},
	{"latencystats", "Latencystats", false, infoLatencyStats},
	{"cluster", "Cluster", true, infoCluster},
	{"keyspace", "Keyspace", true, nil},
	{"millrace", "Millrace", true, infoMillrace},
}

// infoFields collects the fields of a section in order.
type infoFields []InfoField

func (f *infoFields) add(name string, value any) {
	*f = append(*f, InfoField{name, fmt.Sprint(value)})
}

// zero adds fields whose value is 0.
func (f *infoFields) zero(names ...string) {
	for _, name := range names {
		f.add(name, 0)
	}
}

func infoServer(r *Router, f *infoFields) {
	up := time.Since(r.start)
	exe, _ := os.Executable() // an unknown path is shown as empty
	f.add("redis_version", RedisVersion)
	f.add("redis_git_sha1", "00000000")
	f.add("redis_git_dirty", 0)
	f.add("redis_build_id", "0")
	f.add("millrace_version", r.version)
	f.add("redis_mode", "cluster")
	f.add("os", runtime.GOOS+" "+runtime.GOARCH)
	f.add("arch_bits", strconv.IntSize)
	f.add("monotonic_clock", "Go runtime")
	f.add("multiplexing_api", "Go runtime")
	f.add("atomicvar_api", "Go runtime")
	f.add("go_version", runtime.Version())
	f.add("process_id", os.Getpid())
	f.add("process_supervised", "no")
	f.add("run_id", r.self)
	f.add("tcp_port", port(r.Addr().String()))
	f.add("server_time_usec", time.Now().UnixMicro())
	f.add("uptime_in_seconds", int64(up.Seconds()))
	f.add("uptime_in_days", int64(up.Hours()/24))
	f.add("executable", exe)
	f.add("config_file", "")
	f.add("io_threads_active", 0)
}

func infoClients(r *Router, f *infoFields) {
	r.mu.Lock()
	connected, blocked := len(r.conns), r.blocked
	r.mu.Unlock()
	sizes := r.clientSizes()
	f.add("connected_clients", connected)
	f.add("cluster_connections", 0)
	f.add("maxclients", r.settings.maxClients.Load())
	f.add("client_recent_max_input_buffer", sizes.in)
	f.add("client_recent_max_output_buffer", sizes.out)
	f.add("blocked_clients", blocked)
	f.add("tracking_clients", sizes.tracked)
	f.add("pubsub_clients", 0)
	f.add("clients_in_timeout_table", 0)
	if actions, left := r.pausing.left(); actions != "none" {
		f.add("paused_reason", "client_pause")
		f.add("paused_actions", actions)
		f.add("paused_timeout_milliseconds", left.Milliseconds())
	} else {
		f.add("paused_reason", "none")
		f.add("paused_actions", "none")
		f.add("paused_timeout_milliseconds", 0)
	}
}

func infoMemory(r *Router, f *infoFields) {
	used := usedMemory()
	f.add("used_memory", used)
	f.add("used_memory_human", human(used))
	f.add("used_memory_rss", used)
	f.add("used_memory_rss_human", human(used))
	f.zero("used_memory_peak", "used_memory_peak_human", "used_memory_peak_perc") // setPeak fills them in
	f.zero("used_memory_lua", "used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts",
		"number_of_functions", "number_of_libraries", "used_memory_vm_functions", "used_memory_vm_total",
		"used_memory_functions", "used_memory_scripts")
	f.add("maxmemory", 0)
	f.add("maxmemory_human", "0B")
	f.add("maxmemory_policy", "noeviction")
	f.zero("mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers",
		"mem_clients_slaves")
	f.add("mem_clients_normal", r.clientSizes().bytes)
	f.zero("mem_cluster_links", "mem_aof_buffer")
	f.add("mem_allocator", "go")
	f.zero("active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects")
}

// infoPersistence shows a server with an append-only file that is in order: an
// acknowledged write is on disk, and a log that cannot be written ends the process.
func infoPersistence(_ *Router, f *infoFields) {
	now := time.Now().Unix()
	f.zero("loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age")
	f.add("current_fork_perc", "0.00")
	f.zero("current_save_keys_processed", "current_save_keys_total", "rdb_changes_since_last_save", "rdb_bgsave_in_progress")
	f.add("rdb_last_save_time", now) // as LASTSAVE answers
	f.add("rdb_last_bgsave_status", "ok")
	f.add("rdb_last_bgsave_time_sec", -1)
	f.add("rdb_current_bgsave_time_sec", -1)
	f.zero("rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded")
	f.add("aof_enabled", 1)
	f.zero("aof_rewrite_in_progress", "aof_rewrite_scheduled")
	f.add("aof_last_rewrite_time_sec", -1)
	f.add("aof_current_rewrite_time_sec", -1)
	f.add("aof_last_bgrewrite_status", "ok")
	f.zero("aof_rewrites", "aof_rewrites_consecutive_failures")
	f.add("aof_last_write_status", "ok")
	f.zero("aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size", "aof_pending_rewrite",
		"aof_buffer_length", "aof_pending_bio_fsync", "aof_delayed_fsync")
}

func infoStats(r *Router, f *infoFields) {
	s := r.stats
	ops, in, out := s.rate.perSecond()
	f.add("total_connections_received", s.connections.Load())
	f.add("total_commands_processed", s.commands.Load())
	f.add("instantaneous_ops_per_sec", ops)
	f.add("total_net_input_bytes", s.bytesIn.Load())
	f.add("total_net_output_bytes", s.bytesOut.Load())
	f.zero("total_net_repl_input_bytes", "total_net_repl_output_bytes")
	f.add("instantaneous_input_kbps", fmt.Sprintf("%.2f", float64(in)/1024))
	f.add("instantaneous_output_kbps", fmt.Sprintf("%.2f", float64(out)/1024))
	f.add("instantaneous_input_repl_kbps", "0.00")
	f.add("instantaneous_output_repl_kbps", "0.00")
	f.add("rejected_connections", s.rejected.Load())
	f.zero("sync_full", "sync_partial_ok", "sync_partial_err", "evicted_keys", "evicted_clients",
		"total_eviction_exceeded_time", "current_eviction_exceeded_time",
		"pubsub_channels", "pubsub_patterns", "pubsubshard_channels", "latest_fork_usec", "total_forks",
		"migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses",
		"active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time",
		"tracking_total_keys", "tracking_total_items", "tracking_total_prefixes", "unexpected_error_replies")
	f.add("total_error_replies", s.errorReplies.Load())
	f.zero("dump_payload_sanitizations")
	f.add("total_reads_processed", s.reads.Load())
	f.add("total_writes_processed", s.writes.Load())
	f.zero("io_threaded_reads_processed", "io_threaded_writes_processed")
	f.add("acl_access_denied_auth", s.authFailures.Load())
	f.zero("acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel")
	f.zero("client_query_buffer_limit_disconnections")
	f.add("client_output_buffer_limit_disconnections", s.outputLimit.Load())
}

// infoReplication shows a master without replicas. For a connection that has asked for the
// topology, setRole changes that.
func infoReplication(r *Router, f *infoFields) {
	f.add("role", "master")
	f.add("connected_slaves", 0)
	f.add("master_failover_state", "no-failover")
	f.add("master_replid", r.self)
	f.add("master_replid2", "0000000000000000000000000000000000000000")
	f.add("master_repl_offset", 0)
	f.add("second_repl_offset", -1)
	f.zero("repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen")
}

func infoCPU(_ *Router, f *infoFields) {
	sys, user := cpuTimes()
	f.add("used_cpu_sys", fmt.Sprintf("%.6f", sys.Seconds()))
	f.add("used_cpu_user", fmt.Sprintf("%.6f", user.Seconds()))
	f.add("used_cpu_sys_children", "0.000000")
	f.add("used_cpu_user_children", "0.000000")
}

// infoCommandStats adds a field for each command that was called or refused:
// cmdstat_xadd:calls=3,usec=1200,usec_per_call=400.00,rejected_calls=0,failed_calls=1.
func infoCommandStats(r *Router, f *infoFields) {
	r.eachCommand(func(cmd *command.Command, c *commandStats) {
		calls, rejected := c.calls.Load(), c.rejected.Load()
		if calls+rejected == 0 {
			return
		}
		usec := c.nanos.Load() / 1000
		f.add("cmdstat_"+cmd.Name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			calls, usec, float64(usec)/float64(max(calls, 1)), rejected, c.failed.Load()))
	})
}

// infoErrorStats adds a field for each first word of an error reply, by name:
// errorstat_WRONGTYPE:count=2.
func infoErrorStats(r *Router, f *infoFields) {
	r.stats.mu.Lock()
	for word, n := range r.stats.errors {
		f.add("errorstat_"+word, fmt.Sprintf("count=%d", n))
	}
	r.stats.mu.Unlock()
	slices.SortFunc(*f, func(a, b InfoField) int { return strings.Compare(a.Name, b.Name) })
}

// infoLatencyStats adds a field for each command that was timed:
// latency_percentiles_usec_xadd:p50=401.407,p99=602.111,p99.9=602.111.
func infoLatencyStats(r *Router, f *infoFields) {
	r.eachCommand(func(cmd *command.Command, c *commandStats) {
		h := c.latency.Load()
		if h == nil || h.count() == 0 {
			return
		}
		micros := func(q float64) float64 { return float64(h.quantile(q)) / 1000 }
		f.add("latency_percentiles_usec_"+cmd.Name, fmt.Sprintf("p50=%.3f,p99=%.3f,p99.9=%.3f", micros(0.5), micros(0.99), micros(0.999)))
	})
}

func infoCluster(_ *Router, f *infoFields) { f.add("cluster_enabled", 1) }

func infoMillrace(r *Router, f *infoFields) {
	s := r.stats
	f.add("calls_clusterdown", s.noLeader.Load())
	f.add("calls_tryagain", s.timedOut.Load())
	f.add("calls_overloaded", s.overloaded.Load())
	f.add("calls_indoubt", s.inDoubt.Load())
	f.add("calls_abandoned", s.abandoned.Load())
}

// eachCommand calls fn for every command and subcommand, by name.
func (r *Router) eachCommand(fn func(*command.Command, *commandStats)) {
	for _, cmd := range r.sorted() {
		for _, one := range append([]*command.Command{cmd}, cmd.Subcommands...) {
			fn(one, r.stats.byCommand[one])
		}
	}
}

// clientSizes are sums and maxima over all clients.
type clientSizes struct {
	in, out int // the largest bytes of waiting commands, and of waiting replies, of one client
	bytes   int // both, summed over all clients
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

// usedMemory returns the bytes that the Go runtime holds from the system.
func usedMemory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// cpuTimes returns the CPU time that the process has used, zero if the system does not tell.
func cpuTimes() (sys, user time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	return time.Duration(u.Stime.Nano()), time.Duration(u.Utime.Nano())
}
