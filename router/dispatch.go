package router

import (
	"strings"
	"time"

	"millrace/call"
	"millrace/command"
	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// dispatch starts the command argv and returns its request, which is in the list.
// The order of the checks is Redis's: known, number of words, password, MULTI.
func (c *conn) dispatch(argv [][]byte) *request {
	cmd, refusal := c.r.table.Lookup(argv)
	if refusal != nil && len(argv) == 1 && cmd.Arity == -1 {
		refusal = nil // COMMAND is a container that runs without a subcommand, too
	}
	if c.mute == muteSkipNext {
		c.mute = muteSkipping
	} else if c.mute == muteSkipping {
		c.mute = muteNone
	}
	q := c.begin(cmd, argv)
	c.lastSeen.Store(q.start)
	switch {
	case refusal != nil:
		c.reject(q, refusal.Str)
	case cmd == nil && (command.IsWord(argv[0], "POST") || command.IsWord(argv[0], "HOST:")):
		c.r.log.Warn("client closed: it sent an HTTP request, as a web page can make a browser do", "client", c.addr)
		q.last = true
		c.answerBytes(q, nil)
	case cmd == nil:
		c.reject(q, []byte(unknownCommand(argv)))
	case !c.authed && !cmd.Is(command.NoAuth):
		c.reject(q, []byte(textNoAuth))
	case c.tx != nil && cmd.Is(command.NoMulti):
		c.reject(q, []byte("ERR Command not allowed inside a transaction"))
	case c.tx != nil && !runsInMulti[cmd.Name]:
		c.lastCmd.Store(cmd)
		c.enqueue(q, argv)
	case c.wasToBeCached(cmd):
		c.refuseCached(q, argv)
	default:
		c.lastCmd.Store(cmd)
		c.awaitPause(cmd)
		if !cmd.Is(command.Admin) && cmd.Name != "exec" {
			c.r.show(c, argv)
		}
		if run := c.r.handlers[cmd]; run != nil {
			run(c, q, argv)
		} else {
			c.runKeyed(q, argv)
		}
	}
	return q
}

// refuseCached answers a command whose reply a client wants to cache. A MULTI begins a
// transaction that will not be executed.
func (c *conn) refuseCached(q *request, argv [][]byte) {
	if q.cmd.Name == "multi" {
		runMulti(c, q, argv)
		c.tx.broken = true
		return
	}
	c.reject(q, []byte(textCaching))
}

// reject answers a command that was refused before it started. If a MULTI is open, its
// EXEC will be refused. A refused EXEC ends the transaction, as in Redis.
func (c *conn) reject(q *request, text []byte) {
	cmd := q.cmd
	if cmd != nil {
		c.r.stats.rejectedCall(cmd)
	}
	q.cmd = nil // the reply is counted as an error, but not as a call
	if cmd != nil && cmd.Name == "exec" {
		c.endTx()
		c.r.show(c, q.argv)
		c.refuse(q, "EXECABORT Transaction discarded because of: "+strings.TrimPrefix(string(text), "ERR "))
		return
	}
	if c.tx != nil {
		c.tx.broken = true
	}
	c.refuse(q, string(text))
}

// runKeyed sends a command of the state machine to the shard of its keys.
func (c *conn) runKeyed(q *request, argv [][]byte) {
	cmd := q.cmd
	key, many := onlyKey(cmd, argv)
	if many {
		c.runManyKeys(q, argv)
		return
	}
	if e := refusalOf(cmd, argv); e != nil {
		c.answer(q, *e)
		return
	}
	if key == 0 {
		c.runKeyless(q, argv)
		return
	}
	shard, refusal := c.r.locate(argv[key])
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.single(q, shard, kindOf(cmd), argv)
}

// refusalOf returns the error that the words of a command alone deserve, or nil.
func refusalOf(cmd *command.Command, argv [][]byte) *resp.Value {
	if cmd.Check != nil {
		if e := cmd.Check(argv); e != nil && e.IsErr() {
			return e
		}
	}
	return nil
}

// runManyKeys sends a command whose keys must be in one slot. As in Redis, the slots are
// checked before the other words.
func (c *conn) runManyKeys(q *request, argv [][]byte) {
	keys := q.cmd.KeyIndexes(argv)
	if len(keys) == 0 {
		if e := refusalOf(q.cmd, argv); e != nil {
			c.answer(q, *e)
			return
		}
		c.runKeyless(q, argv)
		return
	}
	names := make([][]byte, len(keys))
	for i, k := range keys {
		names[i] = argv[k]
	}
	shard, refusal := c.r.oneSlot(names)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	if e := refusalOf(q.cmd, argv); e != nil {
		c.answer(q, *e)
		return
	}
	c.single(q, shard, kindOf(q.cmd), argv)
}

// runKeyless runs a command of the state machine that names no key, such as XINFO HELP.
// It needs no state, so it runs here.
func (c *conn) runKeyless(q *request, argv [][]byte) {
	v, ok := stream.RunKeyless(q.cmd, argv)
	if !ok {
		v = resp.Err(textInternal)
	}
	c.answer(q, v)
}

// onlyKey returns the index of the one key of argv, zero without a key, or many if there
// are several keys, or if only the command's own code finds them. It allocates nothing.
func onlyKey(cmd *command.Command, argv [][]byte) (key int, many bool) {
	k := &cmd.Keys
	if k.Find != nil {
		return 0, true
	}
	if k.First == 0 || k.First >= len(argv) {
		return 0, false
	}
	last := k.Last
	if last < 0 {
		last += len(argv)
	}
	return k.First, last >= k.First+max(k.Step, 1)
}

// kindOf returns how a shard handles a command.
func kindOf(cmd *command.Command) call.Kind {
	if cmd.Is(command.Write) {
		return call.Write
	}
	return call.Read
}

// locate returns the shard of a key, or the reason that it has none.
func (r *Router) locate(key []byte) (shard uint32, refusal string) {
	if len(key) > stream.MaxKeyLen {
		return 0, textTooLong
	}
	return r.locateSlot(kv.Slot(key))
}

// locateSlot returns the shard of a slot, or the reason that it has none.
func (r *Router) locateSlot(slot uint16) (shard uint32, refusal string) {
	shard, ok := r.topology().ShardOf(slot)
	if !ok && r.awaitShards() {
		shard, ok = r.topology().ShardOf(slot)
	}
	if !ok {
		return 0, textNoSlot
	}
	return shard, ""
}

// mapTick is the time between two looks for the first map of shards.
const mapTick = 20 * time.Millisecond

// awaitShards waits for the first map with shards, and reports whether there is one. A
// node needs a moment to found or to join a cluster, so its first clients wait as they
// would for a shard without a leader. Once Patience has passed since the start, nothing
// is about to change, so there is no wait.
func (r *Router) awaitShards() bool {
	tick := time.NewTicker(mapTick)
	defer tick.Stop()
	for {
		if _, ok := r.topology().ShardOf(0); ok {
			return true
		}
		if r.now() > int64(r.lim.Patience) {
			return false
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return false
		}
	}
}

// maxEcho is how many bytes of a client's words an error text repeats; Redis's bound.
const maxEcho = 128

// unknownCommand is Redis's answer to an unknown command.
func unknownCommand(argv [][]byte) string {
	var b strings.Builder
	b.WriteString("ERR unknown command '")
	b.Write(cut(argv[0], maxEcho))
	b.WriteString("'")
	if len(argv) == 1 {
		return b.String()
	}
	b.WriteString(", with args beginning with: ")
	for n, i := 0, 1; i < len(argv) && n < maxEcho; i++ {
		w := cut(argv[i], maxEcho-n)
		b.WriteString("'")
		b.Write(w)
		b.WriteString("' ")
		n += len(w) + 3
	}
	return b.String()
}

// cut returns at most n bytes of b.
func cut(b []byte, n int) []byte { return b[:min(len(b), n)] }
