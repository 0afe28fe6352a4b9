package router

import (
	"time"

	"millrace/resp"
)

const (
	// writeBuffer is how many bytes of replies are collected before they are sent;
	// a single reply from that size on is sent from where it is.
	writeBuffer = 32 << 10
	// writeChunk is what one write hands over: a client has WriteStall for each.
	writeChunk = 256 << 10
)

// write sends replies in the order of the requests, pumps the lanes that became ready,
// and runs serial requests. It ends when the connection is dead, or when the reader has
// ended and every request is answered.
func (c *conn) write() {
	defer c.kill()
	var done []*request // of one round, reused
	for {
		c.mu.Lock()
		for !c.hasWork() {
			c.work.Wait()
		}
		if c.dead || c.readerDone && c.head == nil {
			c.mu.Unlock()
			return
		}
		if pumps := c.takePumps(); len(pumps) > 0 {
			c.mu.Unlock()
			for _, l := range pumps {
				l.pump()
			}
			c.mu.Lock()
		}
		if q := c.head; q != nil && !q.done && q.serial != nil {
			c.mu.Unlock()
			reply := q.serial()
			c.mu.Lock()
			c.finish(q, reply)
		}
		done = c.takeDone(done[:0])
		c.mu.Unlock()
		if len(done) > 0 && !c.flush(done) {
			return
		}
		clear(done)
	}
}

// takePumps takes the lanes that have jobs to be sent. c.mu is held.
func (c *conn) takePumps() []*lane {
	pumps := c.pumps
	c.pumps = nil
	for _, l := range pumps {
		l.flagged = false
	}
	return pumps
}

// hasWork reports whether the writer has anything to do. c.mu is held.
func (c *conn) hasWork() bool {
	if c.dead || len(c.pumps) > 0 {
		return true
	}
	if c.head == nil {
		return c.readerDone
	}
	return c.head.done || c.head.serial != nil
}

// takeDone moves the finished requests at the head of the list to done. c.mu is held.
func (c *conn) takeDone(done []*request) []*request {
	for q := c.head; q != nil && q.done; q = c.head {
		c.head = q.next
		if c.head == nil {
			c.tail = nil
		}
		q.next = nil
		c.inFlight--
		c.inBytes -= q.bytes
		done = append(done, q)
	}
	return done
}

// flush sends the replies of done, and reports whether the connection goes on.
func (c *conn) flush(done []*request) bool {
	held := c.r.buffers.Get().(*[]byte)
	buf := (*held)[:0]
	defer func() {
		*held = buf[:0]
		c.r.buffers.Put(held)
	}()
	freed, last := 0, false
	for _, q := range done {
		freed += len(q.reply)
		reply := q.reply
		if q.build != nil {
			for i := range q.parts {
				freed += len(q.parts[i].reply)
			}
			reply = q.build(q)
			q.parts = nil
		}
		q.failed = q.failed || len(reply) > 0 && reply[0] == '-'
		if !q.pushed {
			c.r.stats.answered(q, reply)
			c.r.noteTime(q)
		}
		last = last || q.last
		if q.mute {
			continue
		}
		if len(reply) >= writeBuffer {
			if !c.put(buf) || !c.put(reply) {
				return false
			}
			buf = buf[:0]
			continue
		}
		if len(buf)+len(reply) > cap(buf) {
			if !c.put(buf) {
				return false
			}
			buf = buf[:0]
		}
		buf = append(buf, reply...)
	}
	if !c.put(buf) || last {
		return false
	}
	c.mu.Lock()
	c.outBytes -= freed
	c.room.Signal()
	c.mu.Unlock()
	return true
}

// put writes b to the client, which may take WriteStall for each chunk of it.
func (c *conn) put(b []byte) bool {
	for len(b) > 0 {
		chunk := b[:min(len(b), writeChunk)]
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.r.lim.WriteStall)); err != nil {
			return false
		}
		n, err := c.nc.Write(chunk)
		c.r.stats.writes.Add(1)
		c.r.stats.bytesOut.Add(int64(n))
		if err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// errorReply encodes an error; errors look the same in both protocol versions.
func errorReply(text string) []byte { return encode(resp.Err(text), 2) }
