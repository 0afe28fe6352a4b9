package router

import (
	"context"
	"math"
	"time"

	"millrace/command"
	"millrace/resp"
)

// waitLines are WAIT and WAITAOF. Every acknowledged write is on disk on a majority of
// its shard's voters. So mostly the leader's answer, how many voters these are, is
// enough. If a client asks for more, the leader tells how far each follower has its log on
// disk.
func waitLines() []line {
	wait := func(usage string, arity int, since, summary string, run handler) line {
		return line{cmd: command.Command{
			Name: usage, Arity: arity, Flags: command.Blocking, Categories: []string{"slow", "blocking", "connection"},
			Since: since, Summary: summary, Complexity: "O(S) for writes to S shards.", Group: "generic",
		}, run: run}
	}
	return []line{
		wait("wait numreplicas:int timeout:int", 3, "3.0.0",
			"Waits until a number of other replicas have this connection's writes, and tells how many do.", runWait),
		wait("waitaof numlocal:int numreplicas:int timeout:int", 4, "7.2.0",
			"Waits until a number of other replicas have this connection's writes on disk, and tells on how many disks they are.", runWaitAOF),
	}
}

// WAIT numreplicas timeout
func runWait(c *conn, q *request, argv [][]byte) {
	n, ok := command.ParseInt(argv[1])
	if !ok {
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
	local, ok := command.ParseInt(argv[1])
	if !ok {
		c.refuse(q, textNotInt)
		return
	}
	if local < 0 || local > 1 {
		c.refuse(q, "ERR value is out of range, value must between 0 and 1")
		return
	}
	n, ok := command.ParseInt(argv[2])
	if !ok {
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

// parseTimeout reads a timeout in milliseconds; zero is for ever. As in Redis, a timeout is
// refused if its end does not fit into 63 bits.
func parseTimeout(w []byte) (ms int64, refused string) {
	ms, ok := command.ParseInt(w)
	switch {
	case !ok:
		return 0, "ERR timeout is not an integer or out of range"
	case ms < 0:
		return 0, "ERR timeout is negative"
	case ms > math.MaxInt64-time.Now().UnixMilli():
		return 0, "ERR timeout is out of range"
	}
	return ms, ""
}

// waitFor answers how many other replicas have the writes of this connection, once they
// are at least n, or once the time is over. For a connection without writes, it is about
// all earlier writes to all shards.
func (c *conn) waitFor(q *request, n, timeoutMS int64, reply func(others int) resp.Value) {
	if q.inExec || c.r.progress == nil {
		c.answer(q, reply(0)) // no replica can be asked, so none is counted
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
		return c.askReplicas(q, c.written(), n, end, unblock, reply)
	})
}

// written returns the shards that this connection has written to, or all if there are none.
func (c *conn) written() []uint32 {
	var out []uint32
	c.mu.Lock()
	for id := range c.wrote {
		out = append(out, id)
	}
	c.mu.Unlock()
	if len(out) == 0 {
		for _, s := range c.r.topology().Shards() {
			out = append(out, s.ID)
		}
	}
	return out
}

// The pause between two questions to the leaders doubles from progressMin to progressMax.
const (
	progressMin = 2 * time.Millisecond
	progressMax = 100 * time.Millisecond
	// progressTime bounds one question.
	progressTime = 2 * time.Second
)

// askReplicas asks the leaders until n replicas of every shard have the log on disk up to
// the shard's goal, which is the commit index of the leader's first answer. All acknowledged writes of
// this connection are at or below it.
func (c *conn) askReplicas(q *request, shards []uint32, n, end int64, unblock <-chan unblockMode, reply func(int) resp.Value) []byte {
	goals := make(map[uint32]uint64)
	best := make(map[uint32]int) // the largest number yet, by shard: a replica loses no write
	wait := progressMin
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		others := 0
		for i, id := range shards {
			best[id] = max(best[id], c.othersAt(id, goals, end))
			if i == 0 || best[id] < others {
				others = best[id]
			}
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

// othersAt returns how many replicas of a shard beside its leader have the log on disk up
// to the shard's goal, zero if the leader does not answer. The first answer sets the goal.
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
	for _, stored := range p.Others {
		if stored >= goal {
			n++
		}
	}
	return max(n, p.Sure)
}
