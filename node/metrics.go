package node

import (
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"millrace/router"
)

// registerMetrics adds this node's metrics to /metrics.
func (n *Node) registerMetrics() {
	n.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		nodeCollector{n}, routerCollector{n.router},
	)
}

// nodeCollector reads the metrics of a node each time when they are requested.
type nodeCollector struct{ n *Node }

// desc returns the description of a metric with Millrace's prefix.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_"+name, help, labels, nil)
}

var (
	descLeads      = desc("shard_leader", "1 where this node leads the shard.", "shard")
	descTerm       = desc("shard_term", "Raft term of this node's replica.", "shard")
	descApplied    = desc("shard_applied_index", "Last record in this replica's state.", "shard")
	descBlocked    = desc("shard_blocked_calls", "Blocked calls that wait at this replica.", "shard")
	descLastIndex  = desc("shard_last_index", "Last record in this replica's log.", "shard")
	descSyncs      = desc("raftlog_syncs_total", "Synced commits of the Raft log.")
	descSyncTime   = desc("raftlog_sync_seconds_total", "Time spent in synced commits of the Raft log.")
	descSyncStuck  = desc("raftlog_sync_pending_seconds", "Age of the oldest sync under way.")
	descRecords    = desc("raftlog_records_total", "Records written to the Raft log.")
	descRecBytes   = desc("raftlog_record_bytes_total", "Bytes of records written to the Raft log.")
	descCacheBytes = desc("raftlog_cache_bytes", "Bytes of records that are kept in memory.")
	descCacheHits  = desc("raftlog_cache_hits_total", "Records read from memory.")
	descCacheMiss  = desc("raftlog_cache_misses_total", "Records read from disk.")
	descDisk       = desc("disk_bytes", "Bytes of a database on disk.", "database")
	descDebt       = desc("compaction_debt_bytes", "Bytes a database has yet to compact.", "database")
	descL0         = desc("l0_sublevels", "Sublevels of level 0; high values hold writes up.", "database")
	descMemTables  = desc("memtable_bytes", "Bytes in memtables.", "database")
	descFree       = desc("disk_free_bytes", "Free bytes on the disk of the data directory, checked every second.")
	descLow        = desc("disk_low", "1 while the disk is nearly full: this node hands over its leaderships and refuses commands that need room.")
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

// routerCollector shows the router's counters. Their labels depend on the commands that
// clients use, so Describe does not list them.
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
			ch <- prometheus.MustNewConstMetric(desc(name, k.Help), kind, k.Value)
			continue
		}
		ch <- prometheus.MustNewConstMetric(desc(name, k.Help, "kind"), kind, k.Value, k.Label)
	}
}

// boolGauge returns b as the value of a gauge.
func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
