package router

import (
	"bytes"
	"slices"
	"strconv"

	"millrace/call"
	"millrace/resp"
)

// watchedKey is a name that an EXEC depends on, with its modification number as it was
// at WATCH. No node keeps a list of watchers: EXEC carries the pairs into its record,
// where they are compared.
type watchedKey struct {
	key    []byte
	number int64
}

// textWatched refuses a WATCH of more keys than Limits.Watched, or bytes than MultiBytes.
const textWatched = "ERR More keys are watched than allowed"

// WATCH key [key …]
func runWatch(c *conn, q *request, argv [][]byte) {
	if c.tx != nil {
		c.refuse(q, "ERR WATCH inside MULTI is not allowed")
		return
	}
	shard, refusal := c.r.oneSlot(argv[1:])
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	// It runs alone, so that every command before it is done, and none after it.
	c.serially(q, func() []byte { return c.watch(q, shard, argv[1:]) })
}

// watch reads the modification numbers of keys, in the writer. A key that is watched
// already keeps its older number, so that a change in between still counts.
func (c *conn) watch(q *request, shard uint32, keys [][]byte) []byte {
	argv := [][]byte{[]byte("_MODIFIED")}
	size := 0
	for _, w := range c.watched {
		size += len(w.key)
	}
	for _, key := range keys {
		if !slices.ContainsFunc(c.watched, func(w watchedKey) bool { return bytes.Equal(w.key, key) }) {
			argv = append(argv, key)
			size += len(key)
		}
	}
	added := len(argv) - 1
	switch {
	case added == 0:
		return encode(resp.OK, q.proto)
	case len(c.watched)+added > c.r.lim.Watched || size > c.r.lim.MultiBytes:
		return errorReply(textWatched)
	}
	e := c.errand(shard, call.Read, argv, forever)
	if reply := c.gather(q, []*errand{e}, forever); reply != nil {
		return reply
	}
	v, _, err := resp.ParseValue(e.res.Reply)
	if err != nil || len(v.Elems) != added {
		return errorReply(textInternal)
	}
	for i, key := range argv[1:] {
		c.watched = append(c.watched, watchedKey{key, v.Elems[i].Int})
	}
	return encode(resp.OK, q.proto)
}

// UNWATCH
func runUnwatch(c *conn, q *request, _ [][]byte) {
	if !q.inExec {
		c.watched = nil
	}
	c.answer(q, resp.OK)
}

// execWatched runs an EXEC that depends on watched keys, in the writer. The commands that
// need no shard run only after the shard has found no key changed. If all commands read,
// so does the guard: it compares the numbers on the view that the commands read.
func (c *conn) execWatched(q *request, shard uint32, queue []queued, watched []watchedKey) []byte {
	guard := [][]byte{[]byte("_WATCHED")}
	for _, w := range watched {
		guard = append(guard, w.key, strconv.AppendInt(nil, w.number, 10))
	}
	cmds, kind := [][][]byte{guard}, call.Read
	for _, it := range queue {
		if it.refusal() == nil && it.forShard() {
			cmds = append(cmds, it.argv)
			if kindOf(it.cmd) == call.Write {
				kind = call.Write
			}
		}
	}
	e := c.errand(shard, kind, nil, forever)
	e.cmds, e.multi = cmds, true
	if reply := c.gather(q, []*errand{e}, forever); reply != nil {
		return reply
	}
	raw, _, err := elements(e.res.Reply)
	switch {
	case err != nil || len(raw) != len(cmds):
		return errorReply(textInternal)
	case isNull(raw[0]):
		return encode(resp.NullArray(), q.proto)
	}
	local := make([][]byte, len(queue))
	for i, it := range queue {
		c.r.stats.executed(it.cmd)
		local[i] = c.runLocally(q, it)
	}
	return splice(local, raw[1:])
}
