package router

import (
	"millrace/call"
	"millrace/command"
	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// transaction holds the commands that a connection queued since MULTI. It belongs to the
// reader.
type transaction struct {
	queue  []queued
	bytes  int
	broken bool // a command was refused instead of queued, so EXEC will be refused
}

type queued struct {
	cmd  *command.Command
	argv [][]byte
}

// runsInMulti are the commands that MULTI does not queue.
var runsInMulti = map[string]bool{
	"multi": true, "exec": true, "discard": true, "watch": true, "quit": true, "reset": true,
}

// notInMulti are the commands that cannot be part of an EXEC, with the reason in place
// of their reply.
var notInMulti = map[string]string{
	"dbsize":    "ERR DBSIZE asks all shards and is not allowed in a transaction",
	"flushall":  "ERR FLUSHALL goes to all shards and is not allowed in a transaction",
	"flushdb":   "ERR FLUSHDB goes to all shards and is not allowed in a transaction",
	"keys":      "ERR KEYS asks all shards and is not allowed in a transaction",
	"randomkey": "ERR RANDOMKEY asks all shards and is not allowed in a transaction",
	"scan":      "ERR SCAN goes over all shards and is not allowed in a transaction",

	"cluster|countkeysinslot": "ERR CLUSTER COUNTKEYSINSLOT is not allowed in a transaction",
	"cluster|getkeysinslot":   "ERR CLUSTER GETKEYSINSLOT is not allowed in a transaction",
	"debug":                   "ERR DEBUG is not allowed in a transaction",
	"memory|stats":            "ERR MEMORY STATS asks all shards and is not allowed in a transaction",
	"client|reply":            "ERR CLIENT REPLY is not allowed in a transaction",
}

// transactionLines are MULTI and the commands that belong to it.
func transactionLines() []line {
	tx := func(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
		return serverLine(usage, arity, flags|command.NoScript, since, summary, run).
			inCategories(categories(flags, "transaction")...).inGroup("transactions")
	}
	watch := tx("watch key...", -2, command.Fast, "2.2.0", "Makes the next EXEC depend on keys: it does nothing if one has changed.", runWatch)
	watch.cmd.Keys = command.Keys{First: 1, Last: -1, Step: 1, Access: "RO"}
	return []line{
		tx("multi", 1, command.Fast, "1.2.0", "Begins a transaction: commands are queued from now on.", runMulti),
		tx("exec", 1, 0, "1.2.0", "Runs the queued commands as one.", runExec).costs("The sum over the queued commands."),
		tx("discard", 1, command.Fast, "2.0.0", "Drops the queued commands.", runDiscard).costs("O(N) for N queued commands."),
		watch.costs("O(N) for N keys."),
		tx("unwatch", 1, command.Fast, "2.2.0", "Drops what WATCH asked for.", runUnwatch),
	}
}

// MULTI starts queueing.
func runMulti(c *conn, q *request, _ [][]byte) {
	if c.tx != nil {
		c.refuse(q, "ERR MULTI calls can not be nested")
		return
	}
	c.tx = &transaction{}
	c.noteTx(0)
	c.answer(q, resp.OK)
}

// DISCARD forgets the queued commands.
func runDiscard(c *conn, q *request, _ [][]byte) {
	if c.tx == nil {
		c.refuse(q, "ERR DISCARD without MULTI")
		return
	}
	c.endTx()
	c.answer(q, resp.OK)
}

// noteTx shows the number of queued commands, or -1, to CLIENT LIST.
func (c *conn) noteTx(n int) {
	c.mu.Lock()
	c.inTx = n
	c.mu.Unlock()
}

// endTx ends the transaction, if there is one, and forgets the watched keys.
func (c *conn) endTx() {
	c.tx, c.watched = nil, nil
	c.noteTx(-1)
}

// enqueue queues a command of a transaction. As in Redis, only its name and its number of
// words are checked before.
func (c *conn) enqueue(q *request, argv [][]byte) {
	lim := &c.r.lim
	if len(c.tx.queue) >= lim.MultiCommands || c.tx.bytes+q.bytes > lim.MultiBytes {
		c.tx.broken = true
		c.tx.queue = nil
		c.refuse(q, "ERR The transaction is larger than allowed")
		return
	}
	c.tx.queue = append(c.tx.queue, queued{q.cmd, argv})
	c.tx.bytes += q.bytes
	c.noteTx(len(c.tx.queue))
	q.cmd = nil // counted when it is executed
	c.answer(q, resp.Simple("QUEUED"))
}

// EXEC runs the queued commands. Those on keys are one call to the shard of their one
// slot, all or nothing. The others run here, in their places. If one of the commands
// writes, the call becomes a record: of GET a, PING and INCR a the first and the third.
// Otherwise it is a read on one view, which costs the log and the other replicas nothing.
func runExec(c *conn, q *request, _ [][]byte) {
	tx, watched := c.tx, c.watched
	if tx == nil {
		c.refuse(q, "ERR EXEC without MULTI")
		return
	}
	c.endTx()
	defer c.r.show(c, q.argv)
	if tx.broken {
		c.refuse(q, "EXECABORT Transaction discarded because of previous errors.")
		return
	}
	shard, refusal := c.r.slotOf(tx.queue, watched)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	if len(watched) > 0 {
		c.serially(q, func() []byte { return c.execWatched(q, shard, tx.queue, watched) })
		return
	}
	// local holds the replies made here; nil marks a reply that the shard makes.
	local := make([][]byte, len(tx.queue))
	var cmds [][][]byte
	kind := call.Read
	for i, it := range tx.queue {
		c.r.stats.executed(it.cmd)
		if !it.cmd.Is(command.Admin) {
			c.r.show(c, it.argv)
		}
		if local[i] = c.runLocally(q, it); local[i] == nil {
			cmds = append(cmds, it.argv)
			if kindOf(it.cmd) == call.Write {
				kind = call.Write
			}
		}
	}
	switch {
	case len(cmds) == 0:
		c.answerBytes(q, splice(local, nil))
	case len(cmds) == len(local) && (len(cmds) > 1 || kind == call.Write):
		q.job = job{part: -1, shard: shard, kind: kind, cmds: cmds, multi: true}
		c.launch(q)
	default:
		c.execMixed(q, shard, kind, cmds, local)
	}
}

// execMixed runs an EXEC of which some replies are made here, or of which the only command
// is a read. That one is sent as it would be outside of a transaction.
func (c *conn) execMixed(q *request, shard uint32, kind call.Kind, cmds [][][]byte, local [][]byte) {
	multi := len(cmds) > 1 || kind == call.Write
	q.parts = make([]part, 1)
	q.build = func(q *request) []byte {
		p := q.parts[0]
		if p.err != nil {
			return errorReply(errorText(kind, p.err))
		}
		if !multi {
			return splice(local, [][]byte{p.reply})
		}
		if reply := failure(kind, p); reply != nil {
			return reply
		}
		raw, _, err := elements(p.reply)
		if err != nil || len(raw) != len(cmds) {
			return errorReply(textInternal)
		}
		return splice(local, raw)
	}
	q.waiting = 1
	q.job = job{part: 0, shard: shard, kind: kind, cmds: cmds, multi: multi}
	c.launch(q)
}

// splice makes the reply to an EXEC from the local replies, with the others in the gaps.
func splice(local, others [][]byte) []byte {
	out := resp.AppendArrayLen(nil, len(local))
	for _, reply := range local {
		if reply == nil {
			reply, others = others[0], others[1:]
		}
		out = append(out, reply...)
	}
	return out
}

// refusal returns the error of a queued command that is refused while the others run, or
// nil.
func (it *queued) refusal() *resp.Value {
	if text, ok := notInMulti[it.cmd.Name]; ok {
		e := resp.Err(text)
		return &e
	}
	return refusalOf(it.cmd, it.argv)
}

// forShard reports whether the shard runs a queued command, if it is not refused.
func (it *queued) forShard() bool {
	return stream.Runs(it.cmd) && len(it.cmd.KeyIndexes(it.argv)) > 0
}

// runLocally returns the reply of a queued command that needs no shard or is refused here;
// nil for one that the shard runs.
func (c *conn) runLocally(q *request, it queued) []byte {
	if e := it.refusal(); e != nil {
		return encode(*e, q.proto)
	}
	if it.forShard() {
		return nil
	}
	sub := &request{c: c, cmd: it.cmd, proto: q.proto, start: q.start, inExec: true}
	if run := c.r.handlers[it.cmd]; run != nil {
		run(c, sub, it.argv)
	} else {
		c.runKeyless(sub, it.argv)
	}
	return sub.reply
}

// slotOf returns the shard of the one slot with all keys of a transaction, also the
// watched ones, or a refusal. Without keys the shard is zero.
func (r *Router) slotOf(queue []queued, watched []watchedKey) (shard uint32, refusal string) {
	var keys [][]byte
	for _, w := range watched {
		keys = append(keys, w.key)
	}
	for _, it := range queue {
		for _, i := range it.cmd.KeyIndexes(it.argv) {
			keys = append(keys, it.argv[i])
		}
	}
	return r.oneSlot(keys)
}

// oneSlot returns the shard of keys that must be in one slot, or a refusal.
func (r *Router) oneSlot(keys [][]byte) (shard uint32, refusal string) {
	for _, key := range keys {
		if kv.Slot(key) != kv.Slot(keys[0]) {
			return 0, textCrossSlot
		}
		if shard, refusal = r.locate(key); refusal != "" {
			return 0, refusal
		}
	}
	return shard, ""
}
