package shard

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// endpoint is the transport of one Raft instance. Whatever it wraps, heartbeats have no
// way past Raft's main loop: one that raises the term while the loop is between
// checking that it leads and stamping records would have it write records of a term it
// was not elected in.
type endpoint struct {
	raft.Transport
	preVote raft.WithPreVote
	once    sync.Once
	err     error
}

func newEndpoint(t raft.Transport) (*endpoint, error) {
	p, ok := t.(raft.WithPreVote)
	if !ok {
		// Raft would go on without, and let a replica that was away unseat the leader.
		return nil, fmt.Errorf("%w: transport %T has no pre-vote", ErrConfig, t)
	}
	return &endpoint{Transport: t, preVote: p}, nil
}

// SetHeartbeatHandler implements raft.Transport: there is no fast path.
func (e *endpoint) SetHeartbeatHandler(func(raft.RPC)) {}

// RequestPreVote implements raft.WithPreVote.
func (e *endpoint) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return e.preVote.RequestPreVote(id, target, args, resp)
}

// Close implements raft.WithClose; it may be called again.
func (e *endpoint) Close() error {
	e.once.Do(func() {
		if c, ok := e.Transport.(raft.WithClose); ok {
			e.err = c.Close()
		}
	})
	return e.err
}
