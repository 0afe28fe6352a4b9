package peer

import (
	"fmt"

	"millrace/call"
)

func blocks(k call.Kind) bool { return k == call.Block || k == call.Wait }

// submit queues a call. An error is the call's answer: it was not queued.
func (c *conn) submit(cl *call.Call) error {
	size := callSize(cl)
	if size > maxCallPayload {
		return fmt.Errorf("%w: %d bytes", call.ErrTooLarge, size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lim := &c.p.cfg.Limits
	switch {
	case c.cause != nil:
		return call.ErrNotSent
	case c.full(laneCall), blocks(cl.Kind) && len(c.blocked) >= lim.Blocked, !blocks(cl.Kind) && c.calls >= lim.Calls:
		return call.ErrOverloaded
	}
	request := c.open.add(openSlot{call: cl, at: c.lanes[laneCall].total})
	if blocks(cl.Kind) {
		c.blocked[cl] = request
	} else {
		c.calls++
	}
	c.put(laneCall, typeCall, cl.Shard, request, size, func(b []byte) []byte { return appendCall(b, cl) })
	return nil
}

// cancel asks the other node to withdraw a call, once; the answer still comes from
// there. A call that is not open here has been answered.
func (c *conn) cancel(cl *call.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	request, ok := c.blocked[cl]
	if !ok || c.cause != nil {
		return
	}
	delete(c.blocked, cl)
	c.calls++ // until its answer comes it counts with those that are not blocked
	c.put(laneCall, typeCancel, cl.Shard, request, 0, nil)
}

func (c *conn) onReply(f frame) error {
	c.mu.Lock()
	s := c.open.get(f.request)
	if s == nil || s.call == nil {
		c.mu.Unlock()
		return nil
	}
	cl := s.call
	c.open.remove(f.request)
	if _, ok := c.blocked[cl]; ok {
		delete(c.blocked, cl)
	} else {
		c.calls--
	}
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
	// A call that blocks may be kept for hours: it must not keep its neighbours'
	// memory from being freed, and has its own.
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
	if stays && len(c.servingBlocked) >= lim.Blocked || !stays && c.serving >= lim.Calls {
		c.reply(f.shard, request, &call.Result{Err: call.ErrOverloaded})
		c.mu.Unlock()
		return nil
	}
	if stays {
		if c.servingBlocked[request] != nil {
			c.mu.Unlock()
			return fmt.Errorf("%w: request %d is open twice", ErrMalformed, request)
		}
		c.servingBlocked[request] = cl
	} else {
		c.serving++
	}
	c.mu.Unlock()
	cl.Done = func(res call.Result) { c.answer(cl, request, &res) }
	c.p.cfg.Handler.Submit(cl)
	if stays {
		// If the connection broke before Submit had the call, fail's cancellation found
		// nothing to cancel.
		select {
		case <-c.done:
			c.p.cfg.Handler.Cancel(cl)
		default:
		}
	}
	return nil
}

// answer sends the answer of this node's handler.
func (c *conn) answer(cl *call.Call, request uint64, res *call.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if blocks(cl.Kind) {
		delete(c.servingBlocked, request)
	} else {
		c.serving--
	}
	if res.Err == nil && (c.full(laneCall) || len(res.Reply) >= maxReplyPayload) {
		// The command ran; only its reply is lost. Errors still fit: they are few and
		// small, a call each.
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

// reply queues a reply. Called with mu held, on a live connection.
func (c *conn) reply(shard uint32, request uint64, res *call.Result) {
	c.put(laneCall, typeCall|answer, shard, request, replySize(res), func(b []byte) []byte { return appendResult(b, res) })
}

func (c *conn) onCancel(f frame) {
	c.mu.Lock()
	cl := c.servingBlocked[f.request]
	c.mu.Unlock()
	if cl != nil {
		c.p.cfg.Handler.Cancel(cl)
	}
}
