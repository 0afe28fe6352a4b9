package peer

import (
	"context"
)

// Leave tells every connected node that this one is about to close its connections, and
// waits until they have the answers to all their calls, or until ctx ends. From then on
// they send this node no further call, so that Close leaves no call in doubt. Calls that
// come meanwhile are handled as ever.
//
//	leaving node                   other node
//	     │ ◄──────── call 7 ─────────── │
//	     │ ───────── leave ───────────► │  sends no call from here on
//	     │ ───────── reply 7 ─────────► │
//	     │ ◄──────── leave, answer ──── │  has all its answers
//
// Raft's RPCs and probes go on until Close.
func (p *Peers) Leave(ctx context.Context) error {
	p.mu.Lock()
	p.leaving = true
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.leave()
	}
	for _, c := range conns {
		select {
		case <-c.left:
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// leave sends the leave frame, once.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && !c.saidLeave {
		c.saidLeave = true
		c.send(callQueue, outFrame{typ: typeLeave})
	}
}

// onLeave notes that the other node takes no further calls.
func (c *conn) onLeave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.otherLeaves = true
	c.answerLeave()
}

// answerLeave answers the leave frame once the other node has answered all calls. The
// caller holds mu.
func (c *conn) answerLeave() {
	if c.otherLeaves && c.cause == nil && c.outCalls == 0 && len(c.outBlocked) == 0 {
		c.send(callQueue, outFrame{typ: typeLeave | answer})
	}
}

// onLeaveAnswer ends Leave's wait for the other node.
func (c *conn) onLeaveAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saidLeave && !c.hasLeft {
		c.hasLeft = true
		close(c.left)
	}
}
