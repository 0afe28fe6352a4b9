package router

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// clusterLine returns the line of a subcommand of CLUSTER.
func clusterLine(usage string, arity int, since, summary string, run handler) line {
	return line{cmd: command.Command{
		Name: usage, Arity: arity, Flags: command.Stale, Categories: []string{"slow"},
		Since: since, Summary: summary, Complexity: "O(N) for N nodes and shards.",
	}, run: run}
}

// clusterAdminLine returns the line of a subcommand of CLUSTER for administrators.
func clusterAdminLine(usage string, arity int, since, summary string, run handler) line {
	return clusterLine(usage, arity, since, summary, run).with(command.Admin).inCategories(categories(command.Admin, "")...)
}

// clusterLines are CLUSTER and its subcommands: they show the cluster map as clients of
// Redis Cluster read it. Each answer comes from one map and one look at the leaders.
func clusterLines() []line {
	const shownReplicas = "Shows the nodes that CLUSTER NODES lists as replicas of a node."
	subs := []line{
		clusterLine("info", 2, "3.0.0", "Tells how many slots have a leader, and other numbers about the cluster.", viewed(clusterInfo)).tips("nondeterministic_output"),
		clusterLine("myid", 2, "3.0.0", "Tells this node's ID.", runClusterMyID).costs("O(1)"),
		clusterLine("myshardid", 2, "7.2.0", "Tells this node's ID: a node has replicas of many shards.", runClusterMyID).costs("O(1)").tips("nondeterministic_output"),
		clusterLine("slots", 2, "3.0.0", "Lists runs of slots, each with its nodes, the leader first.", asksTopology(viewed(clusterSlots))).
			with(command.Loading).tips("nondeterministic_output").deprecated("7.0.0 `CLUSTER SHARDS`").history(
			"4.0.0 A node's ID comes with its address.",
			"7.0.0 A map of further addresses comes with each node."),
		clusterLine("shards", 2, "7.0.0", "Lists shards, grouped by leader, with their slots and nodes.", asksTopology(viewed(clusterShards))).
			with(command.Loading).tips("nondeterministic_output"),
		clusterLine("nodes", 2, "3.0.0", "Lists the nodes, with the slots that each one leads.", asksTopology(viewed(clusterNodes))).tips("nondeterministic_output"),
		clusterLine("keyslot key:string", 3, "3.0.0", "Tells the slot of a key.", runClusterKeySlot).costs("O(N) for a key of N bytes."),
		clusterLine("countkeysinslot slot:int", 3, "3.0.0", "Counts the keys of a slot.", runClusterCountKeys).costs("O(N) for N keys that are counted."),
		clusterLine("getkeysinslot slot:int count:int", 4, "3.0.0", "Lists keys of a slot, up to a number of them.", runClusterGetKeys).
			costs("O(N) for N keys in the reply.").tips("nondeterministic_output"),
		clusterAdminLine("replicas node-id", 3, "5.0.0", shownReplicas, runClusterReplicas).tips("nondeterministic_output"),
		clusterAdminLine("slaves node-id", 3, "3.0.0", shownReplicas, runClusterReplicas).tips("nondeterministic_output").deprecated("5.0.0 `CLUSTER REPLICAS`"),
		clusterAdminLine("count-failure-reports node-id", 3, "3.0.0", "Answers 0: nodes make no failure reports.", runClusterFailureReports).tips("nondeterministic_output"),
		clusterAdminLine("forget node-id", 3, "3.0.0", "Makes a node leave the cluster for good: its replicas go to others.", runClusterForget),
		clusterLine("links", 2, "7.0.0", "Answers an empty array: Millrace has no cluster bus.", runClusterLinks).costs("O(1)").tips("nondeterministic_output"),
		helpLine("5.0.0", clusterHelp),
	}
	return []line{container("cluster", "cluster", "3.0.0", "Commands about the nodes, shards and slots.", append(subs, clusterRefusedLines()...)...)}
}

// clusterRefusedLines are the subcommands with which operators of Redis Cluster place
// slots by hand.
func clusterRefusedLines() (out []line) {
	for _, f := range []struct {
		usage string
		arity int
		since string
		flags command.Flags
	}{
		{"addslots slot:int...", -3, "3.0.0", 0},
		{"addslotsrange start-slot_end-slot:(start-slot:int end-slot:int)...", -4, "7.0.0", 0},
		{"bumpepoch", 2, "3.0.0", 0},
		{"delslots slot:int...", -3, "3.0.0", 0},
		{"delslotsrange start-slot_end-slot:(start-slot:int end-slot:int)...", -4, "7.0.0", 0},
		{"failover options:[FORCE|TAKEOVER]", -2, "3.0.0", 0},
		{"flushslots", 2, "3.0.0", 0},
		{"meet ip port:int [cluster_bus_port:int]", -4, "3.0.0", 0},
		{"replicate node-id", 3, "3.0.0", 0},
		{"reset hard_soft:[HARD|SOFT]", -2, "3.0.0", command.NoScript},
		{"saveconfig", 2, "3.0.0", 0},
		{"set-config-epoch config-epoch:int", 3, "3.0.0", 0},
		{"setslot slot:int subcommand:(IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE)", -4, "3.0.0", 0},
	} {
		const summary = "Refused: Millrace places shards by itself."
		out = append(out, clusterAdminLine(f.usage, f.arity, f.since, summary, runClusterRefused).with(f.flags).costs("O(1)"))
	}
	return out
}

var clusterHelp = []string{
	"CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"COUNTKEYSINSLOT <slot>",
	"    Counts the keys of <slot>.",
	"FORGET <node-id>",
	"    Makes a node leave for good: its replicas go to other nodes. When it has none left",
	"    and is stopped, it is removed. A node that comes back after that is refused.",
	"GETKEYSINSLOT <slot> <count>",
	"    Lists up to <count> keys of <slot>.",
	"INFO",
	"    Tells how many slots have a leader, and other numbers about the cluster.",
	"KEYSLOT <key>",
	"    Tells the slot of <key>.",
	"LINKS",
	"    Answers an empty array.",
	"MYID",
	"    Tells this node's ID.",
	"MYSHARDID",
	"    Tells this node's ID.",
	"NODES",
	"    Lists the nodes, one a line:",
	"    <id> <ip:port@peer-port> <flags> <master or -> 0 0 <version of the map> <link> <slot> ...",
	"REPLICAS <node-id>",
	"    Shows the nodes that CLUSTER NODES lists as replicas of <node-id>.",
	"SHARDS",
	"    Lists shards, grouped by leader, with their slots and nodes.",
	"SLOTS",
	"    Lists runs of slots: first slot, last slot, then the address, port and ID of the",
	"    leader and of each other replica.",
	"HELP",
	"    Shows this list.",
}

// clusterView is one state of the cluster map with the believed leaders, for one CLUSTER
// command.
type clusterView struct {
	self    string
	version uint64
	nodes   []NodeInfo
	byID    map[string]NodeInfo
	shards  []ShardInfo
	leader  []string // of each shard; empty if unknown
}

func (r *Router) clusterView() clusterView {
	t := r.topology()
	v := clusterView{self: r.self, version: t.Version(), nodes: t.Nodes(), shards: t.Shards(), byID: make(map[string]NodeInfo)}
	for _, n := range v.nodes {
		v.byID[n.ID] = n
	}
	for _, s := range v.shards {
		node, term := r.leader(s.ID)
		if _, known := v.byID[node]; term == 0 || !known {
			node = ""
		}
		v.leader = append(v.leader, node)
	}
	return v
}

// viewed returns the handler of a CLUSTER command that answers from a view. It first looks
// for leaders that are not known, as on a node that has just started, because a client
// takes a cluster for broken that has slots without a leader.
func viewed(answer func(clusterView) resp.Value) handler {
	return func(c *conn, q *request, _ [][]byte) {
		v := c.r.clusterView()
		if q.inExec || !slices.Contains(v.leader, "") {
			c.answer(q, answer(v))
			return
		}
		c.serially(q, func() []byte {
			c.findLeaders(v)
			return encode(answer(c.r.clusterView()), q.proto)
		})
	}
}

// findTime is how long a CLUSTER command waits for leaders that are not known.
const findTime = time.Second

// findLeaders waits until the leaders missing in v are known, at most for findTime.
func (c *conn) findLeaders(v clusterView) {
	var missing []*search
	found := make(chan struct{}, len(v.shards))
	deadline := c.r.now() + int64(findTime)
	for i, s := range v.shards {
		if v.leader[i] == "" {
			w := &search{deadline: deadline, found: func(string, uint64) { found <- struct{}{} }}
			missing = append(missing, w)
			c.r.seeker(s.ID).add(w)
		}
	}
	for range missing { // each search ends at its deadline at the latest
		<-found
	}
}

// members returns the nodes of shard i as CLUSTER NODES shows them: its leader, then the
// nodes that are replicas of that leader. A node that leads another shard is a master, so it
// is not among them. If the leader is not known, all nodes with a replica are members, any
// of which may be first, because every node forwards.
func (v clusterView) members(i int) []NodeInfo {
	var out []NodeInfo
	if leader, ok := v.byID[v.leader[i]]; ok {
		out = append(out, leader)
		for _, n := range v.nodes {
			if v.master(n.ID) == leader.ID {
				out = append(out, n)
			}
		}
		return out
	}
	for _, id := range v.shards[i].Replicas {
		if n, ok := v.byID[id]; ok {
			out = append(out, n)
		}
	}
	return out
}

// CLUSTER MYID
func runClusterMyID(c *conn, q *request, _ [][]byte) { c.answer(q, resp.BulkString(c.r.self)) }

// CLUSTER KEYSLOT key
func runClusterKeySlot(c *conn, q *request, argv [][]byte) {
	c.answer(q, resp.Int(int64(kv.Slot(argv[2]))))
}

// CLUSTER LINKS
func runClusterLinks(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array()) }

// CLUSTER ADDSLOTS and the other subcommands with which operators of Redis Cluster place
// slots by hand.
func runClusterRefused(c *conn, q *request, argv [][]byte) {
	c.refuse(q, "ERR CLUSTER "+strings.ToUpper(string(cut(argv[1], maxEcho)))+
		" is not supported: Millrace places shards by itself. See: millrace status")
}

// CLUSTER SLOTS
func clusterSlots(v clusterView) resp.Value {
	var out []resp.Value
	for i, s := range v.shards {
		for _, run := range s.Slots {
			row := []resp.Value{resp.Int(int64(run.First)), resp.Int(int64(run.Last))}
			for _, n := range v.members(i) {
				row = append(row, resp.Array(resp.BulkString(n.Host), resp.Int(int64(n.Port)), resp.BulkString(n.ID), resp.Map()))
			}
			out = append(out, resp.Array(row...))
		}
	}
	return resp.Array(out...)
}

// CLUSTER SHARDS. In Redis Cluster a shard is a master with its slots, and some clients
// keep only one shard for each master. So all shards that one node leads are shown as one.
func clusterShards(v clusterView) resp.Value {
	text := resp.BulkString
	var out []resp.Value
	for _, led := range v.byLeader() {
		var slots, nodes []resp.Value
		var members []NodeInfo
		for _, i := range led {
			for _, run := range v.shards[i].Slots {
				slots = append(slots, resp.Int(int64(run.First)), resp.Int(int64(run.Last)))
			}
			for _, n := range v.members(i) {
				if !slices.ContainsFunc(members, func(o NodeInfo) bool { return o.ID == n.ID }) {
					members = append(members, n)
				}
			}
		}
		for _, n := range members {
			role, health := "replica", "online"
			if n.ID == v.leader[led[0]] {
				role = "master"
			}
			if !n.Alive {
				health = "fail"
			}
			nodes = append(nodes, resp.Map(
				text("id"), text(n.ID), text("port"), resp.Int(int64(n.Port)), text("ip"), text(n.Host), text("endpoint"), text(n.Host),
				text("role"), text(role), text("replication-offset"), resp.Int(0), text("health"), text(health)))
		}
		out = append(out, resp.Map(text("slots"), resp.Array(slots...), text("nodes"), resp.Array(nodes...)))
	}
	return resp.Array(out...)
}

// byLeader returns the indexes of the shards, grouped by leader, in the order of the first
// shard of each group. A shard without a known leader is a group of its own. For example,
// leaders A, B, A give the groups 0 2 and 1.
func (v clusterView) byLeader() (out [][]int) {
	at := make(map[string]int)
	for i, id := range v.leader {
		j, ok := at[id]
		if !ok || id == "" {
			at[id] = len(out)
			out = append(out, []int{i})
			continue
		}
		out[j] = append(out[j], i)
	}
	return out
}

// CLUSTER NODES. A node that leads shards is shown as the master of their slots, and any
// other node as a replica of its master.
func clusterNodes(v clusterView) resp.Value {
	var b strings.Builder
	for _, l := range v.lines() {
		b.WriteString(l.text + "\n")
	}
	return resp.Verbatim(b.String())
}

// nodeLine is a node's line of CLUSTER NODES.
type nodeLine struct {
	id, master string // master is "-" if the node is a master itself
	text       string
}

func (v clusterView) lines() []nodeLine {
	var out []nodeLine
	for _, n := range v.nodes {
		var slots []string
		for i, s := range v.shards {
			if v.leader[i] == n.ID {
				for _, run := range s.Slots {
					slots = append(slots, slotRange(run))
				}
			}
		}
		flags, link, master := "slave", "connected", v.master(n.ID)
		if master == "" {
			flags, master = "master", "-"
		}
		if n.ID == v.self {
			flags = "myself," + flags
		} else if !n.Alive {
			flags += ",fail"
			link = "disconnected"
		}
		text := fmt.Sprintf("%s %s:%d@%d %s %s 0 0 %d %s", n.ID, n.Host, n.Port, n.PeerPort, flags, master, v.version, link)
		if len(slots) > 0 {
			text += " " + strings.Join(slots, " ")
		}
		out = append(out, nodeLine{n.ID, master, text})
	}
	return out
}

// CLUSTER REPLICAS node-id, and SLAVES
func runClusterReplicas(c *conn, q *request, argv [][]byte) {
	id := string(argv[2])
	viewed(func(v clusterView) resp.Value {
		if _, ok := v.byID[id]; !ok {
			return unknownNode(argv[2])
		}
		var out []resp.Value
		for _, l := range v.lines() {
			switch {
			case l.id == id && l.master != "-":
				return resp.Err("ERR The specified node is not a master")
			case l.master == id:
				out = append(out, resp.BulkString(l.text))
			}
		}
		return resp.Array(out...)
	})(c, q, argv)
}

// CLUSTER COUNT-FAILURE-REPORTS node-id
func runClusterFailureReports(c *conn, q *request, argv [][]byte) {
	if _, ok := c.r.clusterView().byID[string(argv[2])]; !ok {
		c.answer(q, unknownNode(argv[2]))
		return
	}
	c.answer(q, resp.Int(0))
}

func unknownNode(id []byte) resp.Value {
	return resp.Err("ERR Unknown node " + string(cut(id, maxEcho)))
}

func slotRange(run SlotRange) string {
	if run.First == run.Last {
		return strconv.Itoa(int(run.First))
	}
	return fmt.Sprintf("%d-%d", run.First, run.Last)
}

// CLUSTER INFO
func clusterInfo(v clusterView) resp.Value {
	assigned, served, size := 0, 0, map[string]bool{}
	for i, s := range v.shards {
		for _, run := range s.Slots {
			n := int(run.Last) - int(run.First) + 1
			assigned += n
			if v.leader[i] != "" {
				served += n
				size[v.leader[i]] = true
			}
		}
	}
	state := "ok"
	if served < kv.Slots {
		state = "fail"
	}
	var b strings.Builder
	for _, f := range []struct {
		name  string
		value any
	}{
		{"cluster_state", state}, {"cluster_slots_assigned", assigned}, {"cluster_slots_ok", served},
		{"cluster_slots_pfail", 0}, {"cluster_slots_fail", assigned - served}, {"cluster_known_nodes", len(v.nodes)},
		{"cluster_size", len(size)}, {"cluster_current_epoch", v.version}, {"cluster_my_epoch", v.version},
		{"cluster_stats_messages_sent", 0}, {"cluster_stats_messages_received", 0},
		{"total_cluster_links_buffer_limit_exceeded", 0},
	} {
		fmt.Fprintf(&b, "%s:%v\r\n", f.name, f.value)
	}
	return resp.Verbatim(b.String())
}
