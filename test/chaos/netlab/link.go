package netlab

import (
	"container/heap"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Link describes the packets' way from one host to another. The zero Link delivers all
// packets at once.
type Link struct {
	Cut bool // drops everything; the sender gets no sign of it, neither a reset nor ICMP
	// CutPort, when not zero, drops only the packets from and to this port.
	CutPort uint16
	Loss    float64       // share of packets that are dropped, 0 to 1
	Delay   time.Duration // before a packet arrives
	Jitter  time.Duration // a packet arrives up to this much earlier or later, so packets overtake each other
	Rate    int           // bytes a second; 0: no bound
}

// maxBacklog bounds the time that a packet waits for a link with a Rate. A packet that
// would wait longer is dropped, as in a full router.
const maxBacklog = 500 * time.Millisecond

// maxDelayed bounds the packets that are delayed at the same time. Further ones are
// dropped.
const maxDelayed = 1 << 16

// path is the way from one host to another, with its present link.
type path struct {
	link    atomic.Pointer[Link]
	free    time.Time // when a link with a Rate has sent its backlog; owned by the sender's forward
	passed  atomic.Uint64
	dropped atomic.Uint64
}

// carry decides how long a packet takes, or returns false to drop it. On a link of 1000
// bytes a second, three packets of 100 bytes that come at once wait 0, 100 and 200 ms.
func (p *path) carry(packet []byte, now time.Time, rng *rand.Rand) (wait time.Duration, ok bool) {
	l := p.link.Load()
	if l == nil {
		p.passed.Add(1)
		return 0, true
	}
	if l.Cut || l.CutPort != 0 && touches(packet, l.CutPort) || l.Loss > 0 && rng.Float64() < l.Loss {
		p.dropped.Add(1)
		return 0, false
	}
	if l.Rate > 0 {
		if p.free.Before(now) {
			p.free = now
		}
		wait = p.free.Sub(now)
		if wait > maxBacklog {
			p.dropped.Add(1)
			return 0, false
		}
		p.free = p.free.Add(time.Duration(len(packet)) * time.Second / time.Duration(l.Rate))
	}
	wait += l.Delay
	if l.Jitter > 0 {
		wait += time.Duration((2*rng.Float64() - 1) * float64(l.Jitter))
	}
	p.passed.Add(1)
	return max(wait, 0), true
}

// delayed holds packets until they are due.
type delayed struct {
	mu     sync.Mutex
	queue  packetHeap // guarded by mu
	closed bool       // guarded by mu
	wake   chan struct{}
}

// packet is a delayed packet for the device to.
type packet struct {
	due  time.Time
	to   *os.File
	data []byte
}

// packetHeap is a heap of packets; the first one is due first.
type packetHeap []packet

func (h packetHeap) Len() int           { return len(h) }
func (h packetHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h packetHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)        { *h = append(*h, x.(packet)) }
func (h *packetHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}

// add queues a packet. It returns false when maxDelayed packets are queued.
func (d *delayed) add(p packet) bool {
	d.mu.Lock()
	full := len(d.queue) >= maxDelayed || d.closed
	if !full {
		heap.Push(&d.queue, p)
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // run has not yet received an earlier signal
	}
	return !full
}

// run delivers packets when they are due, until close.
func (d *delayed) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		var due []packet
		d.mu.Lock()
		now := time.Now()
		for len(d.queue) > 0 && !d.queue[0].due.After(now) {
			due = append(due, heap.Pop(&d.queue).(packet))
		}
		if len(d.queue) > 0 {
			wait = d.queue[0].due.Sub(now)
		}
		closed := d.closed
		d.mu.Unlock()
		if closed {
			return
		}
		for _, p := range due {
			_, _ = p.to.Write(p.data) // a closed or full device loses packets
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-d.wake:
		}
	}
}

func (d *delayed) close() {
	d.mu.Lock()
	d.closed = true
	d.queue = nil
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
