package peer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"millrace/call"
)

// prober batches the probes to one node.
type prober struct {
	l      *link
	frames atomic.Uint64

	mu       sync.Mutex
	inFlight *probeBatch // sent, not answered
	next     *probeBatch // not sent; takes whatever comes
}

// probeBatch is the probes of one frame. shards and at are the prober's until it is
// sent; out and err are set before done is closed.
type probeBatch struct {
	shards []uint32
	at     map[uint32]int
	out    []call.Probe
	err    error
	done   chan struct{}
}

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

// sendNext sends the waiting batch, if any. A batch that cannot be sent is returned,
// its err set, to be closed without mu, which is held.
func (p *prober) sendNext() []*probeBatch {
	b := p.next
	p.next = nil
	if b == nil {
		return nil
	}
	err := call.ErrNotSent
	if c := p.l.conn.Load(); c != nil {
		err = c.sendProbe(b) // from here on its answer may come
	}
	if err != nil {
		b.err = err
		return []*probeBatch{b}
	}
	p.frames.Add(1)
	p.inFlight = b
	return nil
}

// finish answers a batch that was sent, and sends the next.
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

func (c *conn) sendProbe(b *probeBatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return call.ErrNotSent
	}
	if c.full(laneRaft) {
		return call.ErrOverloaded
	}
	request := c.open.add(openSlot{probe: b, at: c.lanes[laneRaft].total})
	c.put(laneRaft, typeProbe, 0, request, 2+4*len(b.shards), func(dst []byte) []byte { return appendProbe(dst, b.shards) })
	return nil
}

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
		c.put(laneRaft, typeProbe|answer, 0, f.request, 2+len(out)*(26+maxNodeID), func(dst []byte) []byte { return appendProbes(dst, out) })
	}
	return nil
}

func (c *conn) onProbeAnswer(f frame) error {
	out, err := decodeProbes(f.payload)
	if err != nil {
		return err
	}
	c.mu.Lock()
	s := c.open.get(f.request)
	if s == nil || s.probe == nil {
		c.mu.Unlock()
		return nil
	}
	b := s.probe
	c.open.remove(f.request)
	c.mu.Unlock()
	if len(out) != len(b.shards) {
		err = fmt.Errorf("%w: %d probes answered of %d", ErrMalformed, len(out), len(b.shards))
		c.l.probes.finish(b, nil, err)
		return err
	}
	c.l.probes.finish(b, out, nil)
	return nil
}
