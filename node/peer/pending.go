package peer

import "millrace/call"

// requestTable holds the requests that were sent on a connection and not yet
// answered. A request number is an index into requests and, in its upper half, how
// often that index was used. So a late answer never matches a newer request: after
// number 1<<32|7 is answered, the next request at index 7 is 2<<32|7. The
// connection's mutex guards the table.
type requestTable struct {
	requests []pendingRequest
	free     []uint32 // indexes not in use
}

// pendingRequest is a request without its answer: exactly one of call, rpc and probe
// is set. None is set at an index that is free.
type pendingRequest struct {
	uses  uint32
	at    uint64 // the send queue's total when the request was queued
	call  *call.Call
	rpc   *pendingRPC
	probe *probeBatch
}

func (r *pendingRequest) used() bool { return r.call != nil || r.rpc != nil || r.probe != nil }

// add stores r and returns its request number.
func (t *requestTable) add(r pendingRequest) uint64 {
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		i = uint32(len(t.requests))
		t.requests = append(t.requests, pendingRequest{})
	}
	r.uses = t.requests[i].uses + 1
	t.requests[i] = r
	return uint64(r.uses)<<32 | uint64(i)
}

// get returns the request with a number, or nil if it was answered already.
func (t *requestTable) get(number uint64) *pendingRequest {
	i := uint32(number)
	if uint64(i) >= uint64(len(t.requests)) {
		return nil
	}
	if r := &t.requests[i]; r.uses == uint32(number>>32) && r.used() {
		return r
	}
	return nil
}

// remove forgets a request that get has returned.
func (t *requestTable) remove(number uint64) {
	i := uint32(number)
	t.requests[i] = pendingRequest{uses: t.requests[i].uses}
	t.free = append(t.free, i)
}

// takeAll empties the table and returns the requests that were in it.
func (t *requestTable) takeAll() []pendingRequest {
	var all []pendingRequest
	for _, r := range t.requests {
		if r.used() {
			all = append(all, r)
		}
	}
	*t = requestTable{}
	return all
}
