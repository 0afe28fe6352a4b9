package peer

import (
	"fmt"

	"millrace/call"
)

// blocks reports whether a call of kind k may stay open for as long as its BLOCK time.
func blocks(k call.Kind) bool { return k == call.Block || k == call.Wait }

// submit queues a call. If it returns an error the call was not queued, and the
// caller answers it with that error.
func (c *conn) submit(cl *call.Call) error {
	size := callSize(cl)
	if size > maxCallPayload {
		return fmt.Errorf("%w: %d bytes", call.ErrTooLarge, size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lim := &c.p.cfg.Limits
	switch {
	case c.cause != nil, c.otherLeaves:
		return call.ErrNotSent
	case c.full(callQueue), blocks(cl.Kind) && len(c.outBlocked) >= lim.Blocked, !blocks(cl.Kind) && c.outCalls >= lim.Calls:
		return call.ErrOverloaded
	}
	request := c.pending.add(pendingRequest{call: cl, at: c.queues[callQueue].total})
	if blocks(cl.Kind) {
		c.outBlocked[cl] = request
	} else {
		c.outCalls++
	}
	c.send(callQueue, outFrame{typ: typeCall, shard: cl.Shard, request: request, size: size,
		payload: func(b []byte) []byte { return appendCall(b, cl) }})
	return nil
}

// cancel asks the other node to withdraw a blocked call. The call is still answered
// by that node. cancel does nothing for a call that was answered or cancelled before.
func (c *conn) cancel(cl *call.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	request, ok := c.outBlocked[cl]
	if !ok || c.cause != nil {
		return
	}
	delete(c.outBlocked, cl)
	c.outCalls++ // until it is answered it counts as a call that does not block
	c.send(callQueue, outFrame{typ: typeCancel, shard: cl.Shard, request: request})
}

// onReply answers the call that a reply belongs to. A reply to a call that is not
// open is ignored.
func (c *conn) onReply(f frame) error {
	c.mu.Lock()
	s := c.pending.get(f.request)
	if s == nil || s.call == nil {
		c.mu.Unlock()
		return nil
	}
	cl := s.call
	c.pending.remove(f.request)
	if _, ok := c.outBlocked[cl]; ok {
		delete(c.outBlocked, cl)
	} else {
		c.outCalls--
	}
	c.answerLeave()
	c.mu.Unlock()
	var res call.Result
	var err error
	if f.owned {
		res, err = decodeResult(f.payload, nil)
	} else {
		res, err = decodeResult(f.payload, &c.bytes)
	}
	if err != nil {
		res = call.Result{Err: brokenCall(cl.Kind, false)}
	}
	cl.Done(res)
	return err
}

// onCall hands a call from the other node to this node's handler.
func (c *conn) onCall(f frame) error {
	// A call that blocks may be kept for hours. It gets memory of its own, because in an
	// arena it would keep the memory of all its neighbours from being freed.
	payload, words := f.payload, &c.words
	stays := blocks(callKind(f.payload))
	if stays {
		words = &wordArena{}
	}
	switch {
	case f.owned:
	case stays:
		payload = append(make([]byte, 0, len(payload)), payload...)
	default:
		payload = c.bytes.copy(payload)
	}
	cl := &call.Call{Shard: f.shard}
	if err := decodeCall(cl, payload, words); err != nil {
		return err
	}
	request := f.request
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return nil
	}
	lim := &c.p.cfg.Limits
	if stays && len(c.inBlocked) >= lim.Blocked || !stays && c.inCalls >= lim.Calls {
		c.reply(f.shard, request, &call.Result{Err: call.ErrOverloaded})
		c.mu.Unlock()
		return nil
	}
	if stays {
		if c.inBlocked[request] != nil {
			c.mu.Unlock()
			return fmt.Errorf("%w: request %d is open twice", ErrMalformed, request)
		}
		c.inBlocked[request] = cl
	} else {
		c.inCalls++
	}
	c.mu.Unlock()
	cl.Done = func(res call.Result) { c.answer(cl, request, &res) }
	c.p.cfg.Handler.Submit(cl)
	if stays {
		// If the connection broke before the handler had the call, the cancellation by
		// fail found nothing to cancel.
		select {
		case <-c.done:
			c.p.cfg.Handler.Cancel(cl)
		default:
		}
	}
	return nil
}

// answer sends the handler's answer to the other node.
func (c *conn) answer(cl *call.Call, request uint64, res *call.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if blocks(cl.Kind) {
		delete(c.inBlocked, request)
	} else {
		c.inCalls--
	}
	if res.Err == nil && (c.full(callQueue) || len(res.Reply) >= maxReplyPayload) {
		// The command ran; only its reply is lost. An error is sent in its place even when
		// the queue is full, because it is small and there is at most one for each call.
		err := call.ErrOverloaded
		switch {
		case brokenCall(cl.Kind, false) == call.ErrInDoubt: //nolint:errorlint // our own value
			err = call.ErrInDoubt
		case len(res.Reply) >= maxReplyPayload:
			err = call.ErrTooLarge
		}
		res = &call.Result{Err: fmt.Errorf("%w: a reply of %d bytes did not fit the connection", err, len(res.Reply))}
	}
	c.reply(cl.Shard, request, res)
}

// reply queues a reply. The caller holds mu and has seen that the connection is alive.
func (c *conn) reply(shard uint32, request uint64, res *call.Result) {
	c.send(callQueue, outFrame{typ: typeCall | answer, shard: shard, request: request, size: replySize(res),
		payload: func(b []byte) []byte { return appendResult(b, res) }})
}

// onCancel withdraws a blocked call of the other node.
func (c *conn) onCancel(f frame) {
	c.mu.Lock()
	cl := c.inBlocked[f.request]
	c.mu.Unlock()
	if cl != nil {
		c.p.cfg.Handler.Cancel(cl)
	}
}
