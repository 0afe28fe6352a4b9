package shard

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"millrace/mutant"
)

// errEnded refuses a message of an instance that has ended.
var errEnded = errors.New("shard: the raft instance has ended")

// endpoint is the transport of one Raft instance. Whatever it wraps, two things hold.
//
// Heartbeats have no way past Raft's main loop: one that raises the term while the loop
// is between checking that it leads and stamping records would have it write records of
// a term it was not elected in.
//
// Once it is closed, nothing is sent: a leader whose main loop waits for a disk goes on
// heartbeating from other goroutines, even when it has been told to shut down, and would
// keep the others from electing a leader.
type endpoint struct {
	raft.Transport
	preVote raft.WithPreVote
	closed  atomic.Bool
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
func (e *endpoint) SetHeartbeatHandler(f func(raft.RPC)) {
	if mutant.HeartbeatFastPath {
		e.Transport.SetHeartbeatHandler(f)
	}
}

// AppendEntries implements raft.Transport.
func (e *endpoint) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if e.closed.Load() {
		return errEnded
	}
	err := e.Transport.AppendEntries(id, target, args, resp)
	if mutant.AckBeforeCommit && err != nil && len(args.Entries) > 0 {
		*resp = raft.AppendEntriesResponse{Term: args.Term, Success: true}
		return nil
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (e *endpoint) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if e.closed.Load() {
		return nil, errEnded
	}
	return e.Transport.AppendEntriesPipeline(id, target)
}

// RequestVote implements raft.Transport.
func (e *endpoint) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if e.closed.Load() {
		return errEnded
	}
	return e.Transport.RequestVote(id, target, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (e *endpoint) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if e.closed.Load() {
		return errEnded
	}
	return e.preVote.RequestPreVote(id, target, args, resp)
}

// InstallSnapshot implements raft.Transport.
func (e *endpoint) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if e.closed.Load() {
		return errEnded
	}
	return e.Transport.InstallSnapshot(id, target, args, resp, data)
}

// TimeoutNow implements raft.Transport.
func (e *endpoint) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if e.closed.Load() {
		return errEnded
	}
	return e.Transport.TimeoutNow(id, target, args, resp)
}

// Close implements raft.WithClose; it may be called again.
func (e *endpoint) Close() error {
	e.closed.Store(true)
	e.once.Do(func() {
		if c, ok := e.Transport.(raft.WithClose); ok {
			e.err = c.Close()
		}
	})
	return e.err
}
