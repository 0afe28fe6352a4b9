package peer

import (
	"encoding/binary"
	"fmt"
	"net"

	"millrace/internal/tick"
)

// A connection has two send queues, so that Raft's frames never wait behind
// megabytes of replies. The writer takes from both in turn, Raft first, and at most
// one burst from each while the other has frames too. Each queue keeps its order.
const (
	raftQueue  = iota // Raft RPCs, probes, pings, and the answers to them
	callQueue         // forwarded calls, cancellations, replies
	queueCount        // the number of queues
)

const (
	raftBurst = 1 << 20
	callBurst = 256 << 10
)

// keepBuffer is the largest buffer that a send queue keeps once it is empty. A larger
// one is left to the garbage collector.
const keepBuffer = 256 << 10

// sendQueue holds encoded frames. Senders append to in while the writer empties out;
// once out is empty the two change places. The connection's mutex guards all of it
// except the bytes that cut has returned.
type sendQueue struct {
	in, out []byte
	off     int // out[:off] was handed to the socket
	// total counts all bytes ever queued, handed the bytes given to the socket. A frame
	// that was queued when total was 900 has not left this process while handed ≤ 900.
	total, handed uint64
}

// waiting returns how many bytes the socket has yet to be given.
func (q *sendQueue) waiting() int { return int(q.total - q.handed) }

// cut takes the next whole frames: as many as fit in burst bytes, but at least one.
// The bytes are valid until the next cut.
func (q *sendQueue) cut(burst int) []byte {
	if q.off == len(q.out) {
		if cap(q.out) > keepBuffer {
			q.out = nil
		}
		q.in, q.out, q.off = q.out[:0], q.in, 0
	}
	b := q.out[q.off:]
	if len(b) > burst {
		n := 0
		for n < len(b) {
			next := n + lengthSize + int(binary.BigEndian.Uint32(b[n:]))
			if n > 0 && next > burst {
				break
			}
			n = next
		}
		b = b[:n]
	}
	q.off += len(b)
	q.handed += uint64(len(b))
	return b
}

// outFrame is a frame to be sent.
type outFrame struct {
	typ     frameType
	shard   uint32
	request uint64
	// size is the expected length of the payload. It only avoids growing the buffer
	// twice; 0 is allowed.
	size int
	// payload appends the payload to the queue's buffer; nil for an empty payload.
	payload func([]byte) []byte
	// lazy frames wait for the clock's next multiple of Limits.LazyFor, or for a frame
	// that is not lazy.
	lazy bool
}

// send appends f to a send queue and wakes the writer, unless f is lazy. The caller
// holds mu and has seen that the connection is alive.
func (c *conn) send(queue int, f outFrame) {
	q := &c.queues[queue]
	start := len(q.in)
	if need := start + frameSize + f.size; need > cap(q.in) {
		grown := make([]byte, start, max(need, 2*cap(q.in), 4<<10))
		copy(grown, q.in)
		q.in = grown
	}
	q.in = appendHead(q.in, f.typ, f.shard, f.request, 0)
	if f.payload != nil {
		q.in = f.payload(q.in)
	}
	n := len(q.in) - start
	putLength(q.in[start:], n-lengthSize)
	q.total += uint64(n)
	switch {
	case c.flush:
	case !f.lazy:
		c.flush = true
		c.wake.Signal()
	case !c.idling:
		c.idling = true
		// Raft sends a heartbeat for every shard and follower, each at a moment of its
		// own. Written one by one, they would be most of the work of idle nodes.
		c.idle.Reset(tick.Until(c.p.cfg.Limits.LazyFor))
	}
	// Requests are refused at QueueBytes. Answers are bounded only by the number of
	// requests that the other node may have open. A node that breaks that bound without
	// reading its answers is cut off here.
	if q.waiting() > 2*c.p.cfg.Limits.QueueBytes+maxReplyPayload && !c.choked {
		c.choked = true
		c.nc.Close() // the reader notices and ends the connection
	}
}

// flushLazy writes the lazy frames that were queued until this tick.
func (c *conn) flushLazy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idling = false
	if c.queues[raftQueue].waiting() > 0 {
		c.flush = true
		c.wake.Signal()
	}
}

// full reports whether a send queue is at its bound. The caller holds mu.
func (c *conn) full(queue int) bool { return c.queues[queue].waiting() >= c.p.cfg.Limits.QueueBytes }

// write empties the send queues into the socket until the connection ends.
func (c *conn) write() {
	var parts [queueCount][]byte
	var bufs net.Buffers
	for {
		c.mu.Lock()
		c.flush = c.flush && c.queues[raftQueue].waiting()+c.queues[callQueue].waiting() > 0
		for c.cause == nil && !c.flush {
			c.wake.Wait()
		}
		if c.cause != nil {
			c.mu.Unlock()
			return
		}
		parts[0] = c.queues[raftQueue].cut(raftBurst)
		parts[1] = c.queues[callQueue].cut(callBurst)
		c.mu.Unlock()

		var n int64
		var err error
		switch {
		case len(parts[1]) == 0:
			var m int
			m, err = c.nc.Write(parts[0])
			n = int64(m)
		case len(parts[0]) == 0:
			var m int
			m, err = c.nc.Write(parts[1])
			n = int64(m)
		default:
			bufs = append(bufs[:0], parts[0], parts[1])
			b := bufs
			n, err = b.WriteTo(c.nc) // one writev
		}
		c.bytesOut.Add(uint64(n))
		c.writes.Add(1)
		if err != nil {
			c.fail(fmt.Errorf("write: %w", err))
			return
		}
	}
}
