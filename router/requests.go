package router

import (
	"millrace/call"
	"millrace/command"
	"millrace/resp"
)

// begin makes a request for the command just read. The request is not in the list yet.
func (c *conn) begin(cmd *command.Command, argv [][]byte) *request {
	q := &request{c: c, cmd: cmd, argv: argv, proto: c.proto, start: c.r.now(), bytes: words(argv)}
	switch c.mute {
	case muteAll, muteSkipping:
		q.mute = true
	}
	return q
}

// link puts q at the end of the list. c.mu is held.
func (c *conn) link(q *request) {
	if c.tail == nil {
		c.head = q
	} else {
		c.tail.next = q
	}
	c.tail = q
	c.inFlight++
	c.inBytes += q.bytes
}

// answer replies to q with v. q is not in the list yet.
func (c *conn) answer(q *request, v resp.Value) {
	q.failed = v.IsErr()
	c.answerBytes(q, encode(v, q.proto))
}

func (c *conn) answerBytes(q *request, reply []byte) {
	if q.inExec {
		q.reply = reply
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link(q)
	c.finish(q, reply)
}

// refuse replies to q with an error.
func (c *conn) refuse(q *request, text string) { c.answer(q, resp.Err(text)) }

// single sends argv to one shard; its answer is the reply.
func (c *conn) single(q *request, shard uint32, kind call.Kind, argv [][]byte) {
	q.job = job{part: -1, shard: shard, kind: kind, one: [1][][]byte{argv}}
	q.job.cmds = q.job.one[:]
	c.launch(q)
}

// launch puts q at the end of the list and sends its job, or its jobs when it is spread
// over shards. The caller has set their shard, part, kind, cmds and multi.
func (c *conn) launch(q *request) {
	if q.spread == nil {
		c.mu.Lock()
		c.link(q)
		l := c.enterLane(q, &q.job)
		c.mu.Unlock()
		l.pump()
		return
	}
	lanes := make([]*lane, len(q.spread))
	c.mu.Lock()
	c.link(q)
	for i := range q.spread {
		lanes[i] = c.enterLane(q, &q.spread[i])
	}
	c.mu.Unlock()
	for _, l := range lanes {
		l.pump()
	}
}

// enterLane queues a job of q in the lane to its shard. c.mu is held.
func (c *conn) enterLane(q *request, j *job) *lane {
	j.req, j.proto = q, q.proto
	j.deadline = q.start + int64(c.r.lim.Patience)
	j.local = c.readOnly && j.kind == call.Read && !j.multi && c.r.hosts(j.shard)
	if j.kind == call.Write {
		c.wrote[j.shard] = struct{}{}
	}
	l := c.lanes[j.shard]
	if l == nil {
		l = &lane{route: route{r: c.r, shard: j.shard}, c: c}
		c.lanes[j.shard] = l
	}
	l.push(j)
	return l
}

// serially queues q with fn, which the writer runs once everything before q is answered.
// The reader dispatches nothing before fn has returned.
func (c *conn) serially(q *request, fn func() []byte) {
	q.serial = fn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link(q)
	c.work.Signal()
}

// finishJob takes the answer of a job. c.mu is held.
func (c *conn) finishJob(j *job, res call.Result) {
	q := j.req
	if res.Err != nil {
		c.r.stats.callFailed(j.kind, res.Err)
	}
	if j.part >= 0 {
		q.parts[j.part] = part{res.Reply, res.Err}
		c.outBytes += len(res.Reply)
		q.waiting--
		if q.waiting == 0 {
			c.finish(q, nil)
		}
		return
	}
	reply := res.Reply
	if res.Err != nil {
		reply = appendError(nil, errorText(j.kind, res.Err))
	}
	c.finish(q, reply)
}

// finish ends q, which is in the list, with a reply, or with nil if build makes the
// reply. c.mu is held.
func (c *conn) finish(q *request, reply []byte) {
	if len(reply) > c.r.lim.OutputHardBytes {
		reply = appendError(nil, textOutput)
	}
	q.reply = reply
	q.done = true
	q.end = c.r.now()
	c.outBytes += len(reply)
	if c.outBytes > c.r.lim.OutputHardBytes && !c.dead {
		c.r.log.Warn("client closed: it does not read its replies", "client", c.addr, "bytes", c.outBytes)
		c.r.stats.outputLimit.Add(1)
		c.killLocked()
	}
	if c.head == q {
		c.work.Signal()
	}
	if c.guarding && q.serial != nil {
		c.kick()
		c.room.Signal()
	}
}
