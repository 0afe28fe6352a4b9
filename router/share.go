package router

import (
	"fmt"
	"slices"
	"strconv"

	"millrace/call"
	"millrace/internal/mutant"
	"millrace/resp"
	"millrace/stream"
)

// A connection sees the cluster in one of two ways.
//
// At first it sees one server that has all keys: DBSIZE, SCAN, KEYS and RANDOMKEY are about
// the whole cluster, and the server is a master.
//
// Once it has asked for the topology (CLUSTER SLOTS, SHARDS or NODES, READONLY, ASKING), it
// sees one node of a cluster: the same commands are about the shards that this node leads,
// and its role is the one in CLUSTER NODES. A client that visits every master then meets
// each key once. For example, with 30 keys on three nodes that lead alike, DBSIZE answers 30
// at first, and about 10 after CLUSTER NODES. RESET leads back to the first way.

// asksTopology returns the handler of a command that asks for the topology.
func asksTopology(run handler) handler {
	return func(c *conn, q *request, argv [][]byte) {
		c.asCluster = true
		run(c, q, argv)
	}
}

// seenShards returns a call of one command for each shard that the connection sees, or a
// refusal.
func (c *conn) seenShards(words ...string) (calls []subcall, refusal string) {
	calls, refusal = c.r.everyShard(words...)
	if refusal != "" || !c.asCluster {
		return calls, refusal
	}
	led, refusal := c.ledHere()
	if refusal != "" {
		return nil, refusal
	}
	return slices.DeleteFunc(calls, func(s subcall) bool {
		return !slices.ContainsFunc(led, func(l ShardInfo) bool { return l.ID == s.shard })
	}), ""
}

// ledHere returns the shards that this node leads, in the order of their slots. It looks for
// leaders that are not known, at most for findTime, because a shard without a leader would
// be on no node. It refuses if one stays unknown.
func (c *conn) ledHere() (led []ShardInfo, refusal string) {
	if !c.r.awaitShards() {
		return nil, textNoSlot
	}
	v := c.r.clusterView()
	if slices.Contains(v.leader, "") {
		c.findLeaders(v)
		v = c.r.clusterView()
	}
	for i, s := range v.shards {
		switch {
		case v.leader[i] == "":
			return nil, textNoLeader
		case v.leader[i] == c.r.self, mutant.ShareHasReplicas && slices.Contains(s.Replicas, c.r.self):
			led = append(led, s)
		}
	}
	return led, ""
}

// scanShare runs a SCAN over the shards that this node leads. A shard that the scan has begun
// is scanned to its end, even if another node leads it by then.
func (c *conn) scanShare(q *request, argv [][]byte) {
	led, refusal := c.ledHere()
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	shards := c.r.topology().Shards()
	cursor := skipShards(argv[1], shards, led)
	slot, ok := stream.ScanSlot(cursor)
	if !ok {
		c.answer(q, resp.Array(resp.BulkString("0"), resp.Array()))
		return
	}
	shard, refusal := c.r.locateSlot(slot)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	argv = slices.Clone(argv)
	argv[1] = cursor
	c.spread(q, call.Read, []subcall{{shard, argv}}, func(q *request) []byte {
		if reply := failure(call.Read, q.parts[0]); reply != nil {
			return reply
		}
		v, _, err := resp.ParseValue(q.parts[0].reply)
		if err != nil || len(v.Elems) != 2 {
			return errorReply(textInternal)
		}
		next := v.Elems[0].Str
		if string(next) != "0" {
			if next = skipShards(next, shards, led); next == nil {
				next = []byte("0")
			}
		}
		return encode(resp.Array(resp.Bulk(next), v.Elems[1]), q.proto)
	})
}

// skipShards moves a cursor at the begin of a shard to the begin of the next shard in led,
// that shard included. It returns nil if none follows. A cursor within a shard stays.
func skipShards(cursor []byte, shards, led []ShardInfo) []byte {
	slot, ok := stream.ScanSlot(cursor)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(string(cursor), 10, 64) // "00" is the cursor 0
	if err != nil || strconv.FormatUint(n, 10) != string(stream.ScanStart(slot)) ||
		!slices.ContainsFunc(shards, func(s ShardInfo) bool { return s.Slots[0].First == slot }) {
		return cursor
	}
	for _, s := range led {
		if s.Slots[0].First >= slot {
			return stream.ScanStart(s.Slots[0].First)
		}
	}
	return nil
}

// master returns the master of a node, or "" if the node is a master itself. A node that
// leads a shard is a master. Any other is a replica of one node: of the leader of the first
// shard that it has a replica of, or of the first leader if it has no replica. While no
// leader is known, every node is a master.
func (v clusterView) master(id string) string {
	if slices.Contains(v.leader, id) {
		return ""
	}
	first := ""
	for i, s := range v.shards {
		switch leader := v.leader[i]; {
		case leader == "":
		case slices.Contains(s.Replicas, id):
			return leader
		case first == "":
			first = leader
		}
	}
	return first
}

// seenRole returns the role of this node as the connection sees it: its master, if it is a
// replica, or else its replicas.
func (c *conn) seenRole() (master NodeInfo, replicas []NodeInfo) {
	if !c.asCluster {
		return NodeInfo{}, nil
	}
	v := c.r.clusterView()
	if id := v.master(c.r.self); id != "" {
		return v.byID[id], nil
	}
	for _, n := range v.nodes {
		if v.master(n.ID) == c.r.self {
			replicas = append(replicas, n)
		}
	}
	return NodeInfo{}, replicas
}

// setRole puts the role that the connection sees into the fields of INFO replication.
func (c *conn) setRole(fields infoFields) infoFields {
	master, replicas := c.seenRole()
	var out infoFields
	for _, f := range fields {
		switch {
		case f.Name == "role" && master.ID != "":
			out.add("role", "slave")
			out.add("master_host", master.Host)
			out.add("master_port", master.Port)
			out.add("master_link_status", "up")
			out.zero("master_last_io_seconds_ago", "master_sync_in_progress", "slave_repl_offset")
			out.add("slave_priority", 100)
			out.add("slave_read_only", 0) // every node takes writes, and forwards them
		case f.Name == "connected_slaves":
			out.add("connected_slaves", len(replicas))
			for i, n := range replicas {
				out.add(fmt.Sprint("slave", i), fmt.Sprintf("ip=%s,port=%d,state=online,offset=0,lag=0", n.Host, n.Port))
			}
		default:
			out = append(out, f)
		}
	}
	return out
}
