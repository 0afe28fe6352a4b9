package router

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"millrace/call"
	"millrace/command"
	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// nameLines are the commands about names that no single shard can answer. SCAN is not
// among them, because a cursor belongs to one shard: the state machine runs it.
func nameLines() []line {
	cmd := func(usage string, arity int, since, summary, complexity string, run handler) line {
		return line{cmd: command.Command{
			Name: usage, Arity: arity, Flags: command.ReadOnly, Categories: []string{"keyspace", "read", "slow"},
			Since: since, Summary: summary, Complexity: complexity, Group: "generic",
		}, run: run}
	}
	flush := func(usage, summary string) line {
		l := cmd(usage, -1, "1.0.0", summary, "O(1) in every shard; compactions free the space later.", runFlush).
			inGroup("server").inCategories("keyspace", "write", "slow", "dangerous").
			history("4.0.0 Takes `ASYNC`.", "6.2.0 Takes `SYNC`.")
		l.cmd.Flags = command.Write
		return l
	}
	const oneDatabaseOnly = "Refused: a cluster has one database."
	return []line{
		flush("flushall async:[ASYNC|SYNC]", "Deletes every key of the cluster."),
		flush("flushdb async:[ASYNC|SYNC]", "Deletes every key of the cluster, which has one database."),
		cmd("keys pattern:pattern", 2, "1.0.0", "Lists the keys whose names match a pattern.", "O(N) for N keys in the cluster.", runKeys).
			tips("nondeterministic_output_order").inCategories("keyspace", "read", "slow", "dangerous"),
		cmd("randomkey", 1, "1.0.0", "Picks a key at random.", "O(S) for S shards.", runRandomKey).tips("nondeterministic_output"),
		oneDatabase("move key db:int", 3, "1.0.0", oneDatabaseOnly),
		oneDatabase("swapdb index1:int index2:int", 3, "4.0.0", oneDatabaseOnly),
	}
}

// oneDatabase is the line of a command that a server in cluster mode refuses, because it
// has one database.
func oneDatabase(usage string, arity int, since, summary string) line {
	name, _, _ := strings.Cut(usage, " ")
	cmd := command.Command{
		Name: usage, Arity: arity, Flags: command.Write | command.Fast, Categories: []string{"keyspace", "write", "fast"},
		Since: since, Summary: summary, Complexity: "O(1)", Group: "generic",
	}
	if name == "swapdb" {
		cmd.Categories = append(cmd.Categories, "dangerous")
		cmd.Group = "server"
	} else {
		cmd.Keys = command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"}
	}
	text := "ERR " + strings.ToUpper(name) + " is not allowed in cluster mode"
	return line{cmd: cmd, run: func(c *conn, q *request, _ [][]byte) { c.refuse(q, text) }}
}

// FLUSHALL, FLUSHDB [ASYNC | SYNC]. Every shard removes its names in a record of its own,
// so if one shard fails, the names of the others are gone.
func runFlush(c *conn, q *request, argv [][]byte) {
	if len(argv) > 2 || len(argv) == 2 && !command.IsWord(argv[1], "ASYNC") && !command.IsWord(argv[1], "SYNC") {
		c.refuse(q, "ERR syntax error")
		return
	}
	if !c.r.flush {
		c.refuse(q, "ERR "+strings.ToUpper(q.cmd.Name)+" is not allowed: it removes all data of the cluster. "+
			"A node that is to allow it is started with --enable-flush, or with enable-flush in its configuration")
		return
	}
	calls, refusal := c.r.everyShard("_FLUSH")
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.spread(q, call.Write, calls, buildOK)
}

// buildOK answers OK if no part failed.
func buildOK(q *request) []byte {
	for _, p := range q.parts {
		if reply := failure(call.Write, p); reply != nil {
			return reply
		}
	}
	return encode(resp.OK, q.proto)
}

// runScan sends a SCAN to the shard that its cursor belongs to.
func runScan(c *conn, q *request, argv [][]byte) {
	if e := q.cmd.Check(argv); e != nil {
		c.answer(q, *e)
		return
	}
	if c.asCluster {
		c.scanShare(q, argv)
		return
	}
	slot, ok := stream.ScanSlot(argv[1])
	if !ok {
		c.answer(q, resp.Array(resp.BulkString("0"), resp.Array()))
		return
	}
	shard, refusal := c.r.locateSlot(slot)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.single(q, shard, call.Read, argv)
}

// everyShard returns a call of one command for each shard, or a refusal if no shards are
// known.
func (r *Router) everyShard(words ...string) (calls []subcall, refusal string) {
	if !r.awaitShards() {
		return nil, textNoSlot
	}
	argv := make([][]byte, len(words))
	for i, w := range words {
		argv[i] = []byte(w)
	}
	for _, s := range r.topology().Shards() {
		calls = append(calls, subcall{s.ID, argv})
	}
	return calls, ""
}

// KEYS pattern: the matching names of all shards that the connection sees. Each shard answers for one moment, and
// these moments differ.
func runKeys(c *conn, q *request, argv [][]byte) {
	calls, refusal := c.seenShards("_KEYS", string(argv[1]), strconv.Itoa(c.r.lim.Keys))
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.spread(q, call.Read, calls, buildList)
}

// buildList joins the parts' arrays into one.
func buildList(q *request) []byte {
	var all [][]byte
	size := 16
	for _, p := range q.parts {
		if reply := failure(kindOf(q.cmd), p); reply != nil {
			return reply
		}
		raw, _, err := elements(p.reply)
		if err != nil {
			return errorReply(textInternal)
		}
		all = append(all, raw...)
		size += len(p.reply)
	}
	out := resp.AppendArrayLen(make([]byte, 0, size), len(all))
	for _, raw := range all {
		out = append(out, raw...)
	}
	return out
}

// RANDOMKEY. A shard is drawn with a chance that grows with its number of names, then it
// draws one of them.
func runRandomKey(c *conn, q *request, _ [][]byte) {
	calls, refusal := c.seenShards("_DBSIZE")
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.serially(q, func() []byte { return c.randomKey(q, calls) })
}

// randomKey runs a RANDOMKEY in the writer. calls ask each shard for its number of names.
func (c *conn) randomKey(q *request, calls []subcall) []byte {
	list := make([]*errand, len(calls))
	for i, sub := range calls {
		list[i] = c.errand(sub.shard, call.Read, sub.argv, forever)
	}
	if reply := c.gather(q, list, forever); reply != nil {
		return reply
	}
	sizes := make([]int64, len(list))
	left := int64(0)
	for i, e := range list {
		v, _, err := resp.ParseValue(e.res.Reply)
		if err != nil || v.Kind != resp.KindInt {
			return errorReply(textInternal)
		}
		sizes[i] = v.Int
		left += v.Int
	}
	// The shard that was drawn may have no name any more, because all have expired or were
	// removed. Then another one is drawn.
	for left > 0 {
		at, i := rand.Int64N(left), 0
		for ; at >= sizes[i]; i++ {
			at -= sizes[i]
		}
		argv := [][]byte{[]byte("_RANDOMKEY"), strconv.AppendUint(nil, rand.Uint64(), 10)}
		e := c.errand(calls[i].shard, call.Read, argv, forever)
		if reply := c.gather(q, []*errand{e}, forever); reply != nil {
			return reply
		}
		if !isNull(e.res.Reply) {
			return e.res.Reply
		}
		left -= sizes[i]
		sizes[i] = 0
	}
	return encode(resp.Null(), q.proto)
}

// Redis's refusals of CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT.
const (
	textNotInteger   = "ERR value is not an integer or out of range"
	textBadSlot      = "ERR Invalid slot"
	textBadSlotCount = "ERR Invalid slot or number of keys"
)

// CLUSTER COUNTKEYSINSLOT slot
func runClusterCountKeys(c *conn, q *request, argv [][]byte) {
	slot, ok := command.ParseInt(argv[2])
	switch {
	case !ok:
		c.refuse(q, textNotInteger)
	case slot < 0 || slot >= kv.Slots:
		c.refuse(q, textBadSlot)
	default:
		c.overSlot(q, "_SLOTCOUNT", uint16(slot), forever, func(parts []resp.Value) resp.Value {
			n := int64(0)
			for _, p := range parts {
				n += p.Int
			}
			return resp.Int(n)
		})
	}
}

// CLUSTER GETKEYSINSLOT slot count
func runClusterGetKeys(c *conn, q *request, argv [][]byte) {
	slot, ok := command.ParseInt(argv[2])
	count, ok2 := command.ParseInt(argv[3])
	switch {
	case !ok || !ok2:
		c.refuse(q, textNotInteger)
	case slot < 0 || slot >= kv.Slots || count < 0:
		c.refuse(q, textBadSlotCount)
	default:
		c.overSlot(q, "_SLOTNAMES", uint16(slot), count, func(parts []resp.Value) resp.Value {
			var names []resp.Value
			for _, p := range parts {
				names = append(names, p.Elems...)
			}
			return resp.Array(names[:min(int64(len(names)), count)]...)
		})
	}
}

// overSlot walks over up to limit names of a slot, in steps of bounded work. merge makes
// the reply from the results of the steps.
func (c *conn) overSlot(q *request, command string, slot uint16, limit int64, merge func([]resp.Value) resp.Value) {
	shard, refusal := c.r.locateSlot(slot)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.serially(q, func() []byte {
		var parts []resp.Value
		for cursor := "0"; ; {
			step := min(limit, stream.MaxSlotStep)
			e := c.errand(shard, call.Read, [][]byte{
				[]byte(command), strconv.AppendUint(nil, uint64(slot), 10), []byte(cursor), strconv.AppendInt(nil, step, 10),
			}, forever)
			if reply := c.gather(q, []*errand{e}, forever); reply != nil {
				return reply
			}
			v, _, err := resp.ParseValue(e.res.Reply)
			if err != nil || len(v.Elems) != 2 {
				return errorReply(textInternal)
			}
			parts = append(parts, v.Elems[1])
			limit -= max(int64(len(v.Elems[1].Elems)), v.Elems[1].Int)
			if cursor = string(v.Elems[0].Str); cursor == "0" || limit <= 0 {
				return encode(merge(parts), q.proto)
			}
		}
	})
}
