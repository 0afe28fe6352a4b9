package node

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"millrace/call"
	"millrace/internal/version"
	"millrace/placement"
	"millrace/resp"
	"millrace/router"
)

// registerMetrics makes /metrics show this node.
func (n *Node) registerMetrics() {
	n.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		nodeCollector{n}, routerCollector{n.router},
	)
}

// nodeCollector reads the counts of a node's parts when they are asked for.
type nodeCollector struct{ n *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_"+name, help, labels, nil)
}

var (
	descLeads      = desc("shard_leader", "1 where this node leads the shard.", "shard")
	descTerm       = desc("shard_term", "Raft term of this node's replica.", "shard")
	descApplied    = desc("shard_applied_index", "Last record in this replica's state.", "shard")
	descBlocked    = desc("shard_blocked_calls", "Calls that wait at this replica for something to read.", "shard")
	descLastIndex  = desc("shard_last_index", "Last record in this replica's log.", "shard")
	descSyncs      = desc("raftlog_syncs_total", "Synced commits of the Raft log.")
	descSyncTime   = desc("raftlog_sync_seconds_total", "Time spent in them.")
	descSyncStuck  = desc("raftlog_sync_pending_seconds", "Age of the oldest sync under way.")
	descRecords    = desc("raftlog_records_total", "Records written to the Raft log.")
	descRecBytes   = desc("raftlog_record_bytes_total", "Bytes of them.")
	descCacheBytes = desc("raftlog_cache_bytes", "Records kept in memory.")
	descCacheHits  = desc("raftlog_cache_hits_total", "Records read from memory.")
	descCacheMiss  = desc("raftlog_cache_misses_total", "Records read from disk.")
	descDisk       = desc("disk_bytes", "Bytes of a database on disk.", "database")
	descDebt       = desc("compaction_debt_bytes", "Bytes a database has yet to compact.", "database")
	descL0         = desc("l0_sublevels", "Sublevels of level 0; high values hold writes up.", "database")
	descMemTables  = desc("memtable_bytes", "Bytes in memtables.", "database")
	descFree       = desc("disk_free_bytes", "Bytes that are free on the disk of the data directory, when it was last looked at.")
	descLow        = desc("disk_low", "1 while the disk is nearly full: this node leads nothing and refuses what needs room.")
	descInCluster  = desc("in_cluster", "1 when the node is in a cluster and can serve.")
)

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLeads, descTerm, descApplied, descBlocked, descLastIndex, descSyncs, descSyncTime,
		descSyncStuck, descRecords, descRecBytes, descCacheBytes, descCacheHits, descCacheMiss, descDisk, descDebt,
		descL0, descMemTables, descFree, descLow, descInCluster} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	for id, s := range c.n.replicas.all() {
		p, label := s.Probe(), strconv.Itoa(int(id))
		gauge(descLeads, boolGauge(p.Leader == c.n.id), label)
		gauge(descTerm, float64(p.Term), label)
		gauge(descApplied, float64(p.Applied), label)
		gauge(descLastIndex, float64(p.LastIndex), label)
		gauge(descBlocked, float64(s.Blocked()), label)
	}
	m := c.n.disks.log.Metrics()
	counter(descSyncs, float64(m.Syncs))
	counter(descSyncTime, m.SyncTime.Seconds())
	gauge(descSyncStuck, m.SyncPending.Seconds())
	counter(descRecords, float64(m.Records))
	counter(descRecBytes, float64(m.RecordBytes))
	gauge(descCacheBytes, float64(m.CacheBytes))
	counter(descCacheHits, float64(m.CacheHits))
	counter(descCacheMiss, float64(m.CacheMisses))
	for name, pm := range map[string]*pebble.Metrics{raftlogDir: m.Pebble, stateDir: c.n.disks.state.Metrics()} {
		gauge(descDisk, float64(pm.DiskSpaceUsage()), name)
		gauge(descDebt, float64(pm.Compact.EstimatedDebt), name)
		gauge(descL0, float64(pm.Levels[0].Sublevels), name)
		gauge(descMemTables, float64(pm.MemTable.Size), name)
	}
	gauge(descFree, float64(c.n.space.free.Load()))
	gauge(descLow, boolGauge(c.n.space.low.Load()))
	gauge(descInCluster, boolGauge(c.n.Ready() == nil))
}

// routerCollector shows the router's counters. Their labels come and go with the
// commands that clients use, so they are not described beforehand.
type routerCollector struct{ r *router.Router }

// Describe implements prometheus.Collector.
func (routerCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c routerCollector) Collect(ch chan<- prometheus.Metric) {
	for _, k := range c.r.Counters() {
		name, kind := "router_"+k.Name, prometheus.GaugeValue
		if !k.Gauge {
			name, kind = name+"_total", prometheus.CounterValue
		}
		if k.Label == "" {
			ch <- prometheus.MustNewConstMetric(desc(name, "See router.Counters."), kind, k.Value)
			continue
		}
		ch <- prometheus.MustNewConstMetric(desc(name, "See router.Counters.", "kind"), kind, k.Value, k.Label)
	}
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// keyCountTimeout bounds counting the keys of one replica of this node, which looks at
// nothing but memory and a number on the disk.
const keyCountTimeout = time.Second

// ledKeys returns how many keys the shards have that this node leads, and how many of them
// expire, so that the sum over all nodes is the number of keys, as in Redis Cluster.
func (n *Node) ledKeys() (keys, expires int64) {
	for id, s := range n.replicas.all() {
		if id == placement.MetaShard || s.Probe().Leader != n.id {
			continue
		}
		answer := make(chan call.Result, 1)
		n.replicas.Submit(&call.Call{
			Shard: id, Kind: call.ReadStale, Cmds: [][][]byte{words([]string{"_KEYSPACE"})}, Proto: 2,
			TimeoutMS: uint32(keyCountTimeout.Milliseconds()), Done: func(res call.Result) { answer <- res },
		})
		select {
		case res := <-answer:
			if v, _, err := resp.ParseValue(res.Reply); res.Err == nil && err == nil && len(v.Elems) == 2 {
				keys += v.Elems[0].Int
				expires += v.Elems[1].Int
			}
		case <-time.After(keyCountTimeout):
		}
	}
	return keys, expires
}

// info returns what the node knows for a section of INFO.
func (n *Node) info(section string) []router.InfoField {
	field := func(name string, v int64) router.InfoField {
		return router.InfoField{Name: name, Value: strconv.FormatInt(v, 10)}
	}
	switch section {
	case "server":
		return []router.InfoField{{Name: "millrace_commit", Value: version.Get().Revision()}}
	case "memory":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return []router.InfoField{
			field("used_memory", int64(m.HeapAlloc)), field("used_memory_rss", int64(m.Sys-m.HeapReleased)),
			field("maxmemory", n.cfg.MemoryBytes),
		}
	case "stats":
		return []router.InfoField{
			field("expired_keys", n.expired.Load()),
			// A name goes as soon as its time has come, so next to none is stale.
			{Name: "expired_stale_perc", Value: "0.00"},
			field("keyspace_hits", int64(n.lookups.Hits())), field("keyspace_misses", int64(n.lookups.Misses())),
		}
	case "keyspace":
		if keys, expires := n.ledKeys(); keys > 0 {
			return []router.InfoField{{Name: "db0", Value: fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", keys, expires)}}
		}
	case "millrace":
		leads := 0
		for id, s := range n.replicas.all() {
			if id != 0 && s.Probe().Leader == n.id {
				leads++
			}
		}
		return []router.InfoField{
			{Name: "node_id", Value: n.id}, {Name: "cluster_id", Value: n.clusterID()},
			field("shards_hosted", int64(len(n.replicas.all()))), field("shards_led", int64(leads)),
		}
	}
	return nil
}
