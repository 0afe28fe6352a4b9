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

// endpoint is the transport of one Raft instance. It adds four rules to the transport
// that it wraps.
//
// Heartbeats go through Raft's main loop. On a fast path beside the loop, a heartbeat
// could raise the term just between the loop's check that it leads and its stamping of
// records: the records would carry a term in which this node was not elected.
//
// A closed endpoint sends nothing. A leader whose main loop waits for a disk goes on
// sending heartbeats from other goroutines, even after it has been told to shut down.
// They would keep the others from electing a leader.
//
// Records and snapshots wait for a replica that cannot be reached, until its node is
// connected and has opened it. Raft pauses after each failure in a row, for up to ten
// seconds, and nothing ends a pause early. A replica that is back would stay behind for
// as long, and if another one failed meanwhile the shard would be without a majority.
//
// A message commits no more than the records that it proves equal. Raft has a follower
// commit up to the end of its own log, even where that end is a suffix of an older term
// about which the message says nothing. A leader that was away would apply records that
// nobody else has. A new leader sends such a message when its replicating goroutine is
// paused between reading the end of the log and reading the commit index.
type endpoint struct {
	raft.Transport
	preVote raft.WithPreVote
	reach   reacher // nil: nothing waits
	needs   *retention
	news    *announcer
	// wanted reports whether this replica leads in a term and replicates to a node.
	wanted func(node string, term uint64) bool
	closed atomic.Bool
	once   sync.Once
	err    error
}

// reacher is a transport that knows which nodes it can reach.
type reacher interface {
	// Reach waits until a node can be reached or the transport is closed, for d at most,
	// and reports whether either is so.
	Reach(id raft.ServerID, d time.Duration) bool
	// Absent reports whether a message failed only because its node, which did answer,
	// has not opened the replica.
	Absent(err error) bool
}

// prompt is a transport that may hold AppendEntries without records back for a while, and
// sends them at once on request.
type prompt interface {
	Announce(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error
}

// reachFor is how long a message waits for a node before endpoint checks again whether
// the message is still wanted.
const reachFor = time.Second

// absentPause is the pause between the first two messages to a node that has not opened
// its replica. It doubles up to absentPauseMax, because a replica that has halted stays
// away for long.
const (
	absentPause    = 20 * time.Millisecond
	absentPauseMax = 640 * time.Millisecond
)

func newEndpoint(t raft.Transport, needs *retention, news *announcer, wanted func(node string, term uint64) bool) (*endpoint, error) {
	p, ok := t.(raft.WithPreVote)
	if !ok {
		// Raft would go on without pre-votes, and let a replica that was away unseat the
		// leader.
		return nil, fmt.Errorf("%w: transport %T has no pre-vote", ErrConfig, t)
	}
	r, _ := t.(reacher)
	return &endpoint{Transport: t, preVote: p, reach: r, needs: needs, news: news, wanted: wanted}, nil
}

// isHeartbeat reports whether a message carries no records and tells no position.
// Heartbeats wait for nobody, because Raft's pauses between them are short.
func isHeartbeat(m *raft.AppendEntriesRequest) bool {
	return len(m.Entries) == 0 && m.PrevLogEntry == 0 && m.LeaderCommitIndex == 0
}

// patiently sends a message once its node can be reached, or need not be, and sends it
// again while the node has not opened its replica.
func (e *endpoint) patiently(id raft.ServerID, term uint64, send func() error) error {
	for pause := absentPause; ; pause = min(2*pause, absentPauseMax) {
		for e.patient(id, term) && !e.reach.Reach(id, reachFor) {
		}
		err := send()
		if err == nil || !e.patient(id, term) || !e.reach.Absent(err) {
			return err
		}
		time.Sleep(pause)
	}
}

// patient reports whether a message that cannot be delivered is to wait.
func (e *endpoint) patient(id raft.ServerID, term uint64) bool {
	return e.reach != nil && !e.closed.Load() && e.wanted(string(id), term)
}

// SetHeartbeatHandler implements raft.Transport: there is no fast path.
func (e *endpoint) SetHeartbeatHandler(f func(raft.RPC)) {
	if mutant.HeartbeatFastPath {
		e.Transport.SetHeartbeatHandler(f)
	}
}

// shownBy returns the index up to which a follower that accepts m has the leader's log.
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
			e.news.stored(id, args.Term, shownBy(args), args.LeaderCommitIndex)
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

// announce tells a node that the log up to at is committed, and reports whether the node
// has taken it. The message leads in at.term, and waits for no node.
func (e *endpoint) announce(id raft.ServerID, self string, at applied) bool {
	me := e.EncodePeer(raft.ServerID(self), raft.ServerAddress(self))
	args := &raft.AppendEntriesRequest{
		RPCHeader:    raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: me},
		Term:         at.term,
		PrevLogEntry: at.index, PrevLogTerm: at.term, LeaderCommitIndex: at.index,
	}
	if mutant.AnnounceUnproved {
		args.PrevLogEntry, args.PrevLogTerm = 0, 0
	}
	if e.closed.Load() {
		return false
	}
	var resp raft.AppendEntriesResponse
	var err error
	if t, ok := e.Transport.(prompt); ok {
		err = t.Announce(id, args, &resp)
	} else {
		err = e.Transport.AppendEntries(id, raft.ServerAddress(id), args, &resp)
	}
	return err == nil && resp.Success
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
	// A snapshot writes the whole state to files. That is not done before the receiver is
	// there to take it, nor by a leader that has been replaced.
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

// Close implements raft.WithClose. It may be called again.
func (e *endpoint) Close() error {
	e.closed.Store(true)
	e.once.Do(func() {
		if c, ok := e.Transport.(raft.WithClose); ok {
			e.err = c.Close()
		}
	})
	return e.err
}
