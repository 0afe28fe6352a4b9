package router

import (
	"bytes"
	"math"
	"time"

	"millrace/call"
	"millrace/resp"
	"millrace/stream"
)

// unblockMode is the way in which CLIENT UNBLOCK ends a call.
type unblockMode uint8

const (
	unblockTimeout unblockMode = iota + 1
	unblockError
)

// runBlocked runs an XREAD or XREADGROUP with BLOCK, in the writer.
//
// If all keys are on one shard, its leader keeps the call. Otherwise the call waits on
// all its shards, and when one of them has an entry, it reads from all without blocking.
// So an entry is never delivered to a call that has already returned.
func (c *conn) runBlocked(q *request, x *xread) []byte {
	q.blocks = true
	if !c.r.enterBlocked() {
		return errorReply(textOverloaded)
	}
	defer c.r.leaveBlocked()
	unblock := make(chan unblockMode, 1)
	c.unblock.Store(&unblock)
	defer c.unblock.Store(nil)

	end := int64(forever)
	if x.BlockMS > 0 && x.BlockMS < maxBlockMS {
		// The time begins now, when the commands that were pipelined before have ended.
		end = c.r.now() + x.BlockMS*1e6
	}
	if reply := c.pin(q, x, end); reply != nil {
		return reply
	}
	if len(x.parts) == 1 {
		return c.blockOne(q, x, end, unblock)
	}
	return c.blockMany(q, x, end, unblock)
}

// enterBlocked counts a blocked client, and reports whether there is room for it.
func (r *Router) enterBlocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked >= r.lim.Blocked {
		return false
	}
	r.blocked++
	return true
}

func (r *Router) leaveBlocked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked--
}

// maxBlockMS is the BLOCK time from which on a call waits for ever: 146 years.
const maxBlockMS = math.MaxInt64 / 2_000_000

// nobody is the reply to a client that has left, and to all when the router closes: none.
var nobody = []byte{}

// graced adds to until the time by which a leader's null may be late.
func graced(until int64) int64 {
	if until > forever-int64(blockGrace) {
		return forever
	}
	return until + int64(blockGrace)
}

// pin replaces each ID "$" of an XREAD by the present last ID of its stream, so that the
// call reads the entries added after this moment, also when it moves to another leader.
// It returns a reply only if the call ends here. It leaves an XREADGROUP alone, which is
// refused later because "$" is no ID there.
func (c *conn) pin(q *request, x *xread, end int64) []byte {
	if x.Grouped {
		return nil
	}
	var list []*errand
	var at [][]int
	for p := range x.parts {
		argv := [][]byte{[]byte("_XLASTID")}
		var which []int
		for _, i := range x.parts[p].at {
			if bytes.Equal(x.IDs[i], dollar) {
				argv = append(argv, x.Keys[i])
				which = append(which, i)
			}
		}
		if len(which) > 0 {
			at = append(at, which)
			list = append(list, c.errand(x.parts[p].shard, call.Read, argv, end))
		}
	}
	if len(list) == 0 {
		return nil
	}
	if reply := c.gather(q, list, end); reply != nil {
		return reply
	}
	ids := append([][]byte(nil), x.IDs...)
	for n, e := range list {
		v, _, err := resp.ParseValue(e.res.Reply)
		if err != nil || len(v.Elems) != len(at[n]) {
			return errorReply(textInternal)
		}
		for k, i := range at[n] {
			ids[i] = v.Elems[k].Str
		}
	}
	x.IDs = ids
	return nil
}

var dollar = []byte("$")

// errand returns an errand with the usual patience, or less for a blocking call that ends
// at end before that.
func (c *conn) errand(shard uint32, kind call.Kind, argv [][]byte, end int64) *errand {
	return &errand{
		route: route{r: c.r, shard: shard}, kind: kind, cmds: [][][]byte{argv},
		deadline: min(c.r.now()+int64(c.r.lim.Patience), graced(end)),
	}
}

// gather runs errands that do not block, all at once. It returns nil if each has a proper
// answer, otherwise a reply for the first failure in their order.
func (c *conn) gather(q *request, list []*errand, end int64) []byte {
	es := newErrands(c, q.proto, list...)
	until := min(c.r.now()+int64(c.r.lim.Patience+c.r.lim.Answer), graced(end))
	switch why, _ := es.run(false, until, nil); why {
	case endGone:
		return nobody
	case endTime:
		for _, e := range list {
			if !e.done {
				c.r.stats.abandoned.Add(1)
				err := call.ErrTimeout
				if e.kind == call.Write && e.cur != nil {
					err = call.ErrInDoubt
				}
				es.finish(e, call.Result{Err: err})
			}
		}
	}
	for _, e := range list {
		if reply := failure(e.kind, part{e.res.Reply, e.res.Err}); reply != nil {
			return reply
		}
	}
	return nil
}

// blockOne leaves the call to one shard, wherever its leader goes.
func (c *conn) blockOne(q *request, x *xread, end int64, unblock <-chan unblockMode) []byte {
	e := c.errand(x.parts[0].shard, call.Block, x.sub(0, true), end)
	e.deadline = end
	es := newErrands(c, q.proto, e)
	why, mode := es.run(false, graced(end), unblock)
	if why == endGone {
		return nobody
	}
	if !e.done {
		es.settle(e)
	}
	switch {
	case e.done && e.res.Err == nil:
		return e.res.Reply
	case e.doubt && x.Grouped && (e.done || why == endTime):
		return errorReply(textInDoubt)
	case e.done:
		return errorReply(errorText(e.kind, e.res.Err))
	case why == endUnblocked && mode == unblockError:
		return errorReply(textUnblocked)
	case why == endTime && e.cur == nil:
		return errorReply(errorText(e.kind, orNoLeader(e.res.Err)))
	case why == endTime && x.Grouped: // the silent leader may have delivered entries
		return errorReply(textInDoubt)
	case why == endTime:
		return errorReply(errorText(e.kind, call.ErrTimeout))
	}
	return encode(resp.NullArray(), q.proto)
}

// blockMany waits on all shards, and reads from all when one of them has an entry. As in
// Redis, an XREAD that has waited leaves out keys that hold another type by then.
func (c *conn) blockMany(q *request, x *xread, end int64, unblock <-chan unblockMode) []byte {
	for round := 0; ; round++ {
		reply := c.readAll(q, x, end, round > 0)
		if !isNull(reply) || c.r.now() >= end {
			return reply
		}
		if round > maxHops {
			// Other calls took the entries each time, or a shard reports entries that no read finds.
			c.nap(pause(round - maxHops))
		}
		list := make([]*errand, len(x.parts))
		for p := range x.parts {
			list[p] = c.errand(x.parts[p].shard, call.Wait, x.sub(p, true), end)
			list[p].deadline = end
		}
		es := newErrands(c, q.proto, list...)
		why, mode := es.run(true, end, unblock)
		switch {
		case why == endGone:
			return nobody
		case why == endUnblocked && mode == unblockError:
			return errorReply(textUnblocked)
		case why == endUnblocked, why == endTime:
			return encode(resp.NullArray(), q.proto)
		}
		ready := false
		for _, e := range list {
			switch {
			case !e.done:
			case e.res.Err == nil:
				ready = ready || !isNull(e.res.Reply)
			case c.r.now() >= end: // there was no leader until the end
			default:
				return errorReply(errorText(e.kind, e.res.Err))
			}
		}
		if !ready && c.r.now() >= end {
			return encode(resp.NullArray(), q.proto)
		}
	}
}

// nap waits for d, or until the client leaves.
func (c *conn) nap(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.gone:
	}
}

// checkGroups asks all shards of an XREADGROUP for key and group, and checks the IDs. As
// in Redis, no entry of any key is delivered unless all arguments are right. It returns
// the first refusal in the order of the arguments, nil if there is none.
func (c *conn) checkGroups(q *request, x *xread, end int64) []byte {
	checks := make([]*errand, len(x.parts))
	for p := range x.parts {
		argv := [][]byte{[]byte("_XGROUPCHECK"), x.Group}
		for _, i := range x.parts[p].at {
			argv = append(argv, x.Keys[i])
		}
		checks[p] = c.errand(x.parts[p].shard, call.Read, argv, end)
	}
	if reply := c.gather(q, checks, end); reply != nil {
		return reply
	}
	refusals := make([]*resp.Value, len(x.Keys))
	for p, e := range checks {
		v, _, err := resp.ParseValue(e.res.Reply)
		if err != nil || len(v.Elems) != len(x.parts[p].at) {
			return errorReply(textInternal)
		}
		for k, i := range x.parts[p].at {
			if v.Elems[k].IsErr() {
				refusals[i] = &v.Elems[k]
			}
		}
	}
	for i, refusal := range refusals {
		if refusal == nil {
			refusal = stream.ReadIDRefusal(x.IDs[i], true)
		}
		if refusal != nil {
			return encode(*refusal, q.proto)
		}
	}
	return nil
}

// refuseID answers an XREAD over several shards whose ID at position at is no ID. As in
// Redis, a key up to that position that is no stream is reported first.
func (c *conn) refuseID(q *request, x *xread, at int, refusal *resp.Value) []byte {
	if reply := c.checkTypes(q, x, at, forever); reply != nil {
		return reply
	}
	return encode(*refusal, q.proto)
}

// checkTypes asks the shards whether each key up to position last is a stream or does not
// exist. It returns the refusal if a key holds another type, otherwise nil.
func (c *conn) checkTypes(q *request, x *xread, last int, end int64) []byte {
	var checks []*errand
	for _, part := range x.parts {
		argv := [][]byte{[]byte("_XLASTID")}
		for _, i := range part.at {
			if i <= last {
				argv = append(argv, x.Keys[i])
			}
		}
		if len(argv) > 1 {
			checks = append(checks, c.errand(part.shard, call.Read, argv, end))
		}
	}
	return c.gather(q, checks, end)
}

// readAll reads once from all shards of x without blocking, in the writer.
func (c *conn) readAll(q *request, x *xread, end int64, waited bool) []byte {
	kind := kindOf(x.cmd)
	if kind == call.Write {
		if reply := c.checkGroups(q, x, end); reply != nil {
			return reply
		}
	}
	if kind == call.Read && waited {
		on := *x
		on.name = "_xreadon" // an XREAD that has waited
		x = &on
	}
	if x.Capped() {
		return c.readInTurn(q, x, end, waited)
	}
	list := make([]*errand, len(x.parts))
	for p := range x.parts {
		list[p] = c.errand(x.parts[p].shard, kind, x.sub(p, false), end)
	}
	if reply := c.gather(q, list, end); reply != nil {
		return reply
	}
	parts := make([]part, len(list))
	for p, e := range list {
		parts[p] = part{reply: e.res.Reply}
	}
	return x.merge(q.proto, parts)
}

// readInTurn reads once from the parts of a capped x, one after another. Each part may use
// the rest of the caps, and reading ends when nothing is left. So no entry is delivered
// that the reply has no room for. For example, with MAXCOUNT 10 and 7 entries from the
// first part, the second part is asked for 3.
func (c *conn) readInTurn(q *request, x *xread, end int64, waited bool) []byte {
	kind := kindOf(x.cmd)
	if kind == call.Read && !waited {
		// As on one shard, a key that is no stream is refused even if the reply ends before it.
		if reply := c.checkTypes(q, x, len(x.Keys)-1, end); reply != nil {
			return reply
		}
	}
	var parts []part
	entries, size := int64(0), int64(0)
	for p := range x.parts {
		left, ok := x.After(entries, size)
		if !ok {
			break
		}
		rest := *x
		rest.Read = left
		e := c.errand(x.parts[p].shard, kind, rest.sub(p, false), end)
		if reply := c.gather(q, []*errand{e}, end); reply != nil {
			return reply
		}
		v, _, err := resp.ParseValue(e.res.Reply)
		if err != nil {
			return errorReply(textInternal)
		}
		n, b := stream.ReadTaken(v)
		entries, size = entries+n, size+b
		parts = append(parts, part{reply: e.res.Reply})
	}
	return x.merge(q.proto, parts)
}

// isNull reports whether an encoded reply is one of the nulls.
func isNull(b []byte) bool {
	return bytes.Equal(b, []byte("*-1\r\n")) || bytes.Equal(b, []byte("_\r\n")) || bytes.Equal(b, []byte("$-1\r\n"))
}
