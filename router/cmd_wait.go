package router

import (
	"context"
	"math"
	"strconv"
	"time"

	"millrace/resp"
	"millrace/stream"
)

// waitLines are WAIT and WAITAOF. Every acknowledged write is on disk on a majority of
// its shard's replicas, so mostly they have nothing to wait for; asked for more, they ask
// the replicas.
func waitLines() []line {
	wait := func(name string, arity int, since, summary string, run handler) line {
		return line{cmd: stream.Command{
			Name: name, Arity: arity, Flags: stream.Blocking | stream.NoScript, Categories: []string{"slow", "blocking", "connection"},
			Since: since, Summary: summary, Complexity: "O(1)", Group: "generic",
		}, run: run}
	}
	return []line{
		wait("wait", 3, "3.0.0", "Waits until so many other replicas have this connection's writes, and returns how many do.", runWait),
		wait("waitaof", 4, "7.2.0", "Waits until so many other replicas have this connection's writes on disk, and returns on how many disks they are.", runWaitAOF),
	}
}

// WAIT numreplicas timeout
func runWait(c *conn, q *request, argv [][]byte) {
	n, err := strconv.ParseInt(string(argv[1]), 10, 64)
	if err != nil {
		c.refuse(q, textNotInt)
		return
	}
	timeoutMS, refused := parseTimeout(argv[2])
	if refused != "" {
		c.refuse(q, refused)
		return
	}
	c.waitFor(q, n, timeoutMS, func(others int) resp.Value { return resp.Int(int64(others)) })
}

// WAITAOF numlocal numreplicas timeout: the local disk is that of the leader, which has
// every write that was acknowledged.
func runWaitAOF(c *conn, q *request, argv [][]byte) {
	local, err := strconv.ParseInt(string(argv[1]), 10, 64)
	if err != nil {
		c.refuse(q, textNotInt)
		return
	}
	if local < 0 || local > 1 {
		c.refuse(q, "ERR value is out of range, must be between 0 and 1")
		return
	}
	n, err := strconv.ParseInt(string(argv[2]), 10, 64)
	if err != nil {
		c.refuse(q, textNotInt)
		return
	}
	if n < 0 {
		c.refuse(q, "ERR value is out of range, must be positive")
		return
	}
	timeoutMS, refused := parseTimeout(argv[3])
	if refused != "" {
		c.refuse(q, refused)
		return
	}
	c.waitFor(q, n, timeoutMS, func(others int) resp.Value { return resp.Array(resp.Int(1), resp.Int(int64(others))) })
}

// parseTimeout reads a timeout in milliseconds, zero is for ever.
func parseTimeout(w []byte) (ms int64, refused string) {
	ms, err := strconv.ParseInt(string(w), 10, 64)
	switch {
	case err != nil:
		return 0, "ERR timeout is not an integer or out of range"
	case ms < 0:
		return 0, "ERR timeout is negative"
	}
	return ms, ""
}

// waitFor answers how many other replicas have what this connection has written, once
// they are at least n or the time is over.
func (c *conn) waitFor(q *request, n, timeoutMS int64, reply func(others int) resp.Value) {
	shards := c.written()
	sure := c.r.majorityOthers(shards)
	if int64(sure) >= n || len(shards) == 0 || q.inExec || c.r.progress == nil {
		c.answer(q, reply(sure))
		return
	}
	end := int64(forever)
	if timeoutMS > 0 && timeoutMS < maxBlockMS {
		end = q.start + timeoutMS*1e6
	}
	q.blocks = true
	c.serially(q, func() []byte {
		if !c.r.enterBlocked() {
			return errorReply(textOverloaded)
		}
		defer c.r.leaveBlocked()
		unblock := make(chan unblockMode, 1)
		c.unblock.Store(&unblock)
		defer c.unblock.Store(nil)
		return c.askReplicas(q, shards, sure, n, end, unblock, reply)
	})
}

// written returns the shards that this connection has written to.
func (c *conn) written() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]uint32, 0, len(c.wrote))
	for id := range c.wrote {
		out = append(out, id)
	}
	return out
}

// majorityOthers returns how many replicas beside its leader have every acknowledged
// write, for the shard of which there are fewest. Without shards it is the least of all
// shards.
func (r *Router) majorityOthers(shards []uint32) int {
	t := r.topology()
	if len(shards) == 0 {
		for _, s := range t.Shards() {
			shards = append(shards, s.ID)
		}
	}
	least := math.MaxInt
	for _, id := range shards {
		s, _ := t.Shard(id)
		least = min(least, len(s.Replicas)/2)
	}
	if least == math.MaxInt {
		return 0
	}
	return least
}

// How often replicas are asked: the pause doubles.
const (
	progressMin = 2 * time.Millisecond
	progressMax = 100 * time.Millisecond
	// progressTime bounds one question.
	progressTime = 2 * time.Second
)

// askReplicas asks until enough replicas have all that the shards' leaders had committed
// when they were asked first: that is at least what this connection was acknowledged.
func (c *conn) askReplicas(q *request, shards []uint32, sure int, n, end int64, unblock <-chan unblockMode, reply func(int) resp.Value) []byte {
	goals := make(map[uint32]uint64)
	best := make(map[uint32]int) // the most that was known: no replica loses what it has
	wait := progressMin
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		others := math.MaxInt
		for _, id := range shards {
			best[id] = max(best[id], sure, c.othersAt(id, goals, end))
			others = min(others, best[id])
		}
		if int64(others) >= n || c.r.now() >= end {
			return encode(reply(others), q.proto)
		}
		pause := wait
		if end != forever {
			pause = min(pause, time.Duration(end-c.r.now()))
		}
		wait = min(2*wait, progressMax)
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-c.gone:
			return nobody
		case mode := <-unblock:
			if mode == unblockError {
				return errorReply(textUnblocked)
			}
			return encode(reply(others), q.proto)
		}
	}
}

// othersAt returns how many replicas of a shard beside its leader have applied the goal,
// which is set by the first answer; zero where nobody answers.
func (c *conn) othersAt(id uint32, goals map[uint32]uint64, end int64) (n int) {
	limit := progressTime
	if end != forever {
		limit = min(limit, max(time.Duration(end-c.r.now()), progressMin))
	}
	ctx, cancel := context.WithTimeout(c.r.ctx, limit)
	defer cancel()
	p, err := c.r.progress(ctx, id)
	if err != nil {
		return 0
	}
	goal, ok := goals[id]
	if !ok {
		goal = p.Commit
		goals[id] = goal
	}
	for _, applied := range p.Others {
		if applied >= goal {
			n++
		}
	}
	return n
}
