package shard

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
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
//
// Records and snapshots for a replica that cannot be reached wait until it can: until there
// is a connection to its node, and the node has opened it. Raft pauses after each failure in a
// row, for up to ten seconds, and nothing ends a pause: a replica that is back would stay
// behind for as long, and the shard without a majority if another one goes meanwhile.
//
// A message commits no more than it shows to be the same. Raft has a follower commit up to
// the end of its own log, even where that is a suffix of an older term which the message
// says nothing of: a leader that was away would apply what nobody else has. A new leader
// sends such a message when the goroutine that replicates rests between looking at the
// end of the log and looking at what is committed.
type endpoint struct {
	raft.Transport
	preVote raft.WithPreVote
	reach   reacher // nil: nothing waits
	needs   *retention
	// wanted reports whether this replica leads in a term and replicates to a node.
	wanted func(node string, term uint64) bool
	closed atomic.Bool
	once   sync.Once
	err    error
}

// reacher is a transport that knows which nodes it can reach.
type reacher interface {
	// Reach waits until a node can be reached or the transport is closed, for d at most,
	// and reports whether one of them is so.
	Reach(id raft.ServerID, d time.Duration) bool
	// Absent reports whether a message failed only because the node, which answered,
	// has not opened its replica.
	Absent(err error) bool
}

// reachFor is how long records wait for a node before it is looked whether they are still
// to go there.
const reachFor = time.Second

// absentPause is between the first two messages to a node that has not opened its replica
// yet. It doubles up to absentPauseMax: a replica that has halted stays away for long.
const (
	absentPause    = 20 * time.Millisecond
	absentPauseMax = 640 * time.Millisecond
)

func newEndpoint(t raft.Transport, needs *retention, wanted func(node string, term uint64) bool) (*endpoint, error) {
	p, ok := t.(raft.WithPreVote)
	if !ok {
		// Raft would go on without, and let a replica that was away unseat the leader.
		return nil, fmt.Errorf("%w: transport %T has no pre-vote", ErrConfig, t)
	}
	r, _ := t.(reacher)
	return &endpoint{Transport: t, preVote: p, reach: r, needs: needs, wanted: wanted}, nil
}

// isHeartbeat reports whether a message carries nothing and tells nothing. These do not
// wait for anybody: Raft's pauses between them are short.
func isHeartbeat(m *raft.AppendEntriesRequest) bool {
	return len(m.Entries) == 0 && m.PrevLogEntry == 0 && m.LeaderCommitIndex == 0
}

// patiently sends a message once a node can be reached, or need not be, and again while
// the node has not opened its replica.
func (e *endpoint) patiently(id raft.ServerID, term uint64, send func() error) error {
	for pause := absentPause; ; pause = min(2*pause, absentPauseMax) {
		for e.waits(id, term) && !e.reach.Reach(id, reachFor) {
		}
		err := send()
		if err == nil || !e.waits(id, term) || !e.reach.Absent(err) {
			return err
		}
		time.Sleep(pause)
	}
}

// waits reports whether a message that cannot be delivered is to wait.
func (e *endpoint) waits(id raft.ServerID, term uint64) bool {
	return e.reach != nil && !e.closed.Load() && e.wanted(string(id), term)
}

// SetHeartbeatHandler implements raft.Transport: there is no fast path.
func (e *endpoint) SetHeartbeatHandler(f func(raft.RPC)) {
	if mutant.HeartbeatFastPath {
		e.Transport.SetHeartbeatHandler(f)
	}
}

// shownBy returns up to which index a follower that accepts a message has the leader's log.
func shownBy(m *raft.AppendEntriesRequest) uint64 {
	if n := len(m.Entries); n > 0 {
		return m.Entries[n-1].Index
	}
	return m.PrevLogEntry
}

// AppendEntries implements raft.Transport.
func (e *endpoint) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if isHeartbeat(args) {
		return e.append(id, target, args, resp)
	}
	err := e.patiently(id, args.Term, func() error {
		defer e.needs.asks(id)()
		err := e.append(id, target, args, resp)
		switch {
		case err == nil && resp.Success:
			e.needs.has(id, shownBy(args))
		case err == nil:
			e.needs.lacks(id, resp.LastLog)
		}
		return err
	})
	if mutant.AckBeforeCommit && err != nil && len(args.Entries) > 0 {
		*resp = raft.AppendEntriesResponse{Term: args.Term, Success: true}
		return nil
	}
	return err
}

func (e *endpoint) append(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if e.closed.Load() {
		return errEnded
	}
	args.LeaderCommitIndex = min(args.LeaderCommitIndex, shownBy(args))
	return e.Transport.AppendEntries(id, target, args, resp)
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
	o, ok := data.(*offer)
	if !ok {
		return fmt.Errorf("%w: a snapshot is sent from a %T", ErrConfig, data)
	}
	// The whole state is written to files for a snapshot: not before somebody is there to
	// take it, and not by a leader that is none any more.
	var there raft.AppendEntriesResponse
	err := e.patiently(id, args.Term, func() error {
		return e.append(id, target, &raft.AppendEntriesRequest{RPCHeader: args.RPCHeader, Term: args.Term}, &there)
	})
	switch {
	case err != nil:
		return err
	case there.Term > args.Term:
		resp.RPCHeader, resp.Term = there.RPCHeader, there.Term
		return nil
	}
	if err := o.make(args); err != nil {
		return err
	}
	if e.closed.Load() {
		return errEnded
	}
	err = e.Transport.InstallSnapshot(id, target, args, resp, o)
	if err == nil && resp.Success {
		e.needs.has(id, args.LastLogIndex)
	}
	return err
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
