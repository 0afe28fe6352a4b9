package node

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"millrace/call"
	"millrace/internal/version"
	"millrace/placement"
	"millrace/resp"
	"millrace/router"
)

// keyCountTimeout limits the count of one replica's keys. Counting is quick, because the
// replica reads only a number on disk and its memory.
const keyCountTimeout = time.Second

// ledKeys returns the number of keys in the shards that this node leads, and how many of
// those expire. The sum over all nodes is then the number of all keys, as in Redis Cluster.
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

// info returns the fields that the node adds to a section of INFO.
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
			// A name is removed soon after its deadline, so hardly any name is stale.
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
