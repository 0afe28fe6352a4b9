package peer

import "encoding/binary"

// A connection has two lanes, so that Raft never waits behind replies: the writer
// takes from each in turn, Raft first, no more than a burst of each while the other
// has something. A lane keeps order.
const (
	laneRaft = iota // Raft RPCs, probes, pings, and their answers
	laneCall        // forwarded calls, cancellations, replies
	lanes
)

const (
	raftBurst = 1 << 20
	callBurst = 256 << 10
)

// keepBuffer is the largest buffer a lane keeps for later.
const keepBuffer = 256 << 10

// lane is a queue of encoded frames: producers append to one buffer while the
// writer empties the other. Guarded by its connection's mutex, but for the bytes
// that cut has returned.
type lane struct {
	in, out []byte
	off     int // out[:off] was handed to the socket
	// total counts bytes ever queued, handed those handed to the socket: what was
	// queued at a total not below handed has not left this process.
	total, handed uint64
}

// waiting is how many bytes are not yet handed to the socket.
func (l *lane) waiting() int { return int(l.total - l.handed) }

// cut takes the next frames, whole ones, up to burst bytes or at least one. The
// bytes are valid until the next cut.
func (l *lane) cut(burst int) []byte {
	if l.off == len(l.out) {
		if cap(l.out) > keepBuffer {
			l.out = nil
		}
		l.in, l.out, l.off = l.out[:0], l.in, 0
	}
	b := l.out[l.off:]
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
	l.off += len(b)
	l.handed += uint64(len(b))
	return b
}
