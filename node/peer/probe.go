package peer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"millrace/call"
)

// prober batches the probes to one node. While a frame is unanswered, new probes
// collect in the next batch: if 40 reads of 10 shards ask meanwhile, the next frame
// carries 10 probes and serves all 40.
type prober struct {
	l      *link
	frames atomic.Uint64

	mu       sync.Mutex
	inFlight *probeBatch // sent, not answered
	next     *probeBatch // not yet sent; new probes join it
}

// probeBatch holds the probes of one frame. The prober's mu guards shards and at
// until the frame is sent. out and err are set before done is closed.
type probeBatch struct {
	shards []uint32
	at     map[uint32]int // shard → index in shards and in out
	out    []call.Probe
	err    error
	done   chan struct{}
}

// index returns the position of a shard in the batch, and adds it if it is new. It
// returns false when the batch is full.
func (b *probeBatch) index(shard uint32) (int, bool) {
	if i, ok := b.at[shard]; ok {
		return i, true
	}
	if len(b.shards) == maxProbeShards {
		return 0, false
	}
	i := len(b.shards)
	b.at[shard] = i
	b.shards = append(b.shards, shard)
	return i, true
}

// ask adds a probe to the next batch and waits for the answer: see Peers.Probe.
func (p *prober) ask(ctx context.Context, shard uint32) (call.Probe, error) {
	if p.l.connected() == nil {
		return call.Probe{}, call.ErrNotSent
	}
	p.mu.Lock()
	if p.next == nil {
		p.next = &probeBatch{at: map[uint32]int{}, done: make(chan struct{})}
	}
	b := p.next
	i, ok := b.index(shard)
	var failed []*probeBatch
	if p.inFlight == nil {
		failed = p.sendNext()
	}
	p.mu.Unlock()
	for _, f := range failed {
		close(f.done)
	}
	if !ok {
		return call.Probe{}, fmt.Errorf("%w: %d shards wait to be polled", call.ErrOverloaded, maxProbeShards)
	}
	select {
	case <-b.done:
		if b.err != nil {
			return call.Probe{}, b.err
		}
		return b.out[i], nil
	case <-ctx.Done():
		return call.Probe{}, ctx.Err()
	}
}

// sendNext sends the next batch, if there is one. The caller holds mu. A batch that
// cannot be sent is returned with its err set; the caller closes its done channel
// after releasing mu.
func (p *prober) sendNext() []*probeBatch {
	b := p.next
	p.next = nil
	if b == nil {
		return nil
	}
	err := call.ErrNotSent
	if c := p.l.conn.Load(); c != nil {
		err = c.sendProbe(b) // the answer may arrive before this returns
	}
	if err != nil {
		b.err = err
		return []*probeBatch{b}
	}
	p.frames.Add(1)
	p.inFlight = b
	return nil
}

// finish hands the answer, or the failure, of a sent batch to the callers that wait
// for it, and sends the next batch.
func (p *prober) finish(b *probeBatch, out []call.Probe, err error) {
	b.out, b.err = out, err
	p.mu.Lock()
	var failed []*probeBatch
	if p.inFlight == b {
		p.inFlight = nil
		failed = p.sendNext()
	}
	p.mu.Unlock()
	close(b.done)
	for _, f := range failed {
		close(f.done)
	}
}

// sendProbe queues the frame of a batch.
func (c *conn) sendProbe(b *probeBatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return call.ErrNotSent
	}
	if c.full(raftQueue) {
		return call.ErrOverloaded
	}
	request := c.pending.add(pendingRequest{probe: b, at: c.queues[raftQueue].total})
	c.send(raftQueue, outFrame{typ: typeProbe, request: request, size: 2 + 4*len(b.shards),
		payload: func(dst []byte) []byte { return appendProbe(dst, b.shards) }})
	return nil
}

// onProbe answers the probes of the other node at once, from the reading goroutine.
func (c *conn) onProbe(f frame) error {
	shards, err := decodeProbe(f.payload)
	if err != nil {
		return err
	}
	out := make([]call.Probe, len(shards))
	for i, s := range shards {
		out[i] = c.p.cfg.Handler.Probe(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.send(raftQueue, outFrame{typ: typeProbe | answer, request: f.request, size: 2 + len(out)*(26+maxNodeID),
			payload: func(dst []byte) []byte { return appendProbes(dst, out) }})
	}
	return nil
}

// onProbeAnswer finishes the batch that an answer belongs to. An answer with another
// number of probes than the batch ends the connection.
func (c *conn) onProbeAnswer(f frame) error {
	out, err := decodeProbes(f.payload)
	if err != nil {
		return err
	}
	c.mu.Lock()
	s := c.pending.get(f.request)
	if s == nil || s.probe == nil {
		c.mu.Unlock()
		return nil
	}
	b := s.probe
	c.pending.remove(f.request)
	c.mu.Unlock()
	if len(out) != len(b.shards) {
		err = fmt.Errorf("%w: %d probes answered of %d", ErrMalformed, len(out), len(b.shards))
		c.l.probes.finish(b, nil, err)
		return err
	}
	c.l.probes.finish(b, out, nil)
	return nil
}
