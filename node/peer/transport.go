package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
)

// Transport is the raft.Transport of one shard, over the connections that the node
// shares among its shards. Server IDs and addresses are node IDs. It implements
// raft.WithPreVote and raft.WithClose.
//
// It differs from the transport that comes with hashicorp/raft:
//
//   - SetHeartbeatHandler is ignored, so heartbeats go through Consumer like every
//     other request. The handler would run beside Raft's main loop: a heartbeat of
//     term 8 could then change the term after the loop had checked that it leads in
//     term 7 and before its append, and a record would be written with term 8 by a
//     node that never led in it.
//   - AppendEntriesPipeline is not supported, because its two sides hand over without
//     a buffer, and one rejection can block both until the leader restarts.
//   - While Config.Stalled reports that log syncs hang, AppendEntries and snapshots
//     are not sent. Raft sends heartbeats beside its main loop, and they would keep a
//     leader that cannot write in office.
//   - An AppendEntries is cut to maxAppendBytes. Raft bounds it by count alone.
//   - A snapshot that the replica does not need is not installed (snapshot_in.go).
//   - A request whose header names another node than the connection's is refused.
//
// Raft's Shutdown waits for the RPCs under way. Close ends them, so call it first.
type Transport struct {
	p     *Peers
	shard uint32
	opts  TransportOptions

	// requests holds requests for Raft, at most maxRPCsWaiting; one more is refused. It
	// is never closed, because Raft would read zero requests from it without end.
	requests chan raft.RPC
	fastPath atomic.Pointer[func(raft.RPC)] // nil, except in the mutant

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// TransportOptions connects a transport to the state of its replica.
type TransportOptions struct {
	// Applied returns the index up to which the replica's state machine has applied the
	// log. It never decreases. nil stands for 0.
	Applied func() uint64
	// StaleSnapshot, if not nil, is called for each snapshot that was refused because
	// the state machine is past it, although the log does not hold the snapshot's last
	// record. One such call is usually a late duplicate. Many calls from one leader mean
	// that the replica's log conflicts with the leader's, and Raft cannot resolve that.
	StaleSnapshot func(index, term uint64)
}

// Failures of Raft RPCs besides ErrNotConnected.
var (
	// ErrStalled: this node sends nothing as a leader while its log syncs hang.
	ErrStalled = errors.New("peer: withheld: syncs of the raft log hang")
	// ErrRPCTimeout: the other replica did not answer in time.
	ErrRPCTimeout = errors.New("peer: raft RPC timed out")
	// ErrTransportClosed: the shard's transport was closed, on this node or the other.
	ErrTransportClosed = errors.New("peer: transport closed")
	// ErrNoReplica: the node has no transport for the shard.
	ErrNoReplica = errors.New("peer: no replica of the shard here")
	// ErrRaftBusy: maxRPCsWaiting requests already wait for the replica's Raft.
	ErrRaftBusy = errors.New("peer: the replica does not take its requests")
	// ErrQueueFull: Limits.QueueBytes already wait to be written to the node.
	ErrQueueFull = errors.New("peer: too many bytes wait to be written to the node")
	// ErrSender: the request's header names another node than the one that sent it.
	ErrSender = errors.New("peer: the request names another sender than its connection")
)

// Transport returns a new transport for a shard, which receives the shard's RPCs from
// now on. The shard's previous transport, if any, is closed.
func (p *Peers) Transport(shard uint32, o TransportOptions) *Transport {
	if o.Applied == nil {
		o.Applied = func() uint64 { return 0 }
	}
	t := &Transport{p: p, shard: shard, opts: o, requests: make(chan raft.RPC, maxRPCsWaiting)}
	t.ctx, t.cancel = context.WithCancel(p.ctx)
	if old, ok := p.endpoints.Swap(shard, t); ok {
		old.(*Transport).cancel()
	}
	return t
}

// Close ends every RPC under way and refuses later ones. It may be called more than
// once: before Raft's Shutdown, which calls it again.
func (t *Transport) Close() error {
	t.cancel()
	t.p.endpoints.CompareAndDelete(t.shard, t)
	return nil
}

// Consumer implements raft.Transport.
func (t *Transport) Consumer() <-chan raft.RPC { return t.requests }

// LocalAddr implements raft.Transport. It returns the node ID.
func (t *Transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.p.cfg.NodeID) }

// EncodePeer implements raft.Transport.
func (t *Transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler ignores its argument, as raft.Transport allows.
func (t *Transport) SetHeartbeatHandler(f func(raft.RPC)) {
	if mutant.HeartbeatFastPath {
		t.fastPath.Store(&f)
	}
}

// AppendEntriesPipeline implements raft.Transport by declining.
func (t *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport. It may shorten args.Entries to the records
// that it sends. That is safe because Raft continues after the last record left in
// args, not after the last one it had passed.
func (t *Transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.p.cfg.Stalled() {
		return ErrStalled
	}
	size := appendEntriesFixed(args)
	for i, l := range args.Entries {
		n := logSize(l)
		if i > 0 && size+n > maxAppendBytes {
			args.Entries = args.Entries[:i]
			// Without this a follower would commit old records of its own at the indexes
			// that were cut off.
			args.LeaderCommitIndex = min(args.LeaderCommitIndex, args.Entries[i-1].Index)
			break
		}
		size += n
	}
	if size > maxAppendPayload {
		return fmt.Errorf("%w: record %d of shard %d has %d bytes", ErrFrameTooLarge, args.Entries[0].Index, t.shard, size)
	}
	return t.ask(id, outFrame{typ: typeAppend, lazy: len(args.Entries) == 0, size: size,
		payload: func(b []byte) []byte { return appendEntries(b, args) }}, resp)
}

// Announce sends an AppendEntries without records that tells something new, the commit
// index. Unlike a heartbeat it does not wait for other frames to be written with.
func (t *Transport) Announce(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.p.cfg.Stalled() {
		return ErrStalled
	}
	return t.ask(id, outFrame{typ: typeAnnounce, size: appendEntriesFixed(args),
		payload: func(b []byte) []byte { return appendEntries(b, args) }}, resp)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.ask(id, outFrame{typ: typeVote, payload: func(b []byte) []byte { return appendVote(b, args) }}, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.ask(id, outFrame{typ: typePreVote, payload: func(b []byte) []byte { return appendPreVote(b, args) }}, resp)
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.ask(id, outFrame{typ: typeTimeoutNow, payload: func(b []byte) []byte { return appendRPCHeader(b, &args.RPCHeader) }}, resp)
}

// Reach waits at most d until there is a connection to a node or t is closed. It
// returns true in both cases, because an RPC is then sent or refused for good, and
// false after d.
func (t *Transport) Reach(id raft.ServerID, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	return t.p.link(string(id)).await(ctx) || t.ctx.Err() != nil
}

// Absent reports whether an RPC failed because the other node answered that it has no
// replica of the shard, or is closing or opening it at the moment.
func (t *Transport) Absent(err error) bool { return errors.Is(err, ErrNoReplica) }

// pendingRPC is an RPC whose caller waits for the answer. It is reused.
type pendingRPC struct {
	ch    chan rpcAnswer // capacity 1
	timer *time.Timer
	small [192]byte // room for most answers
}

// rpcAnswer is the payload of an answer, in memory of the pendingRPC, or the reason
// that there is none.
type rpcAnswer struct {
	payload []byte
	err     error
}

var pendingRPCs = sync.Pool{New: func() any {
	w := &pendingRPC{ch: make(chan rpcAnswer, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

// ask sends an RPC and waits for its answer, which it decodes into resp. It fills in
// the shard and the request number of f.
func (t *Transport) ask(id raft.ServerID, f outFrame, resp any) error {
	if t.ctx.Err() != nil {
		return ErrTransportClosed
	}
	if string(id) == t.p.cfg.NodeID {
		return fmt.Errorf("%w: a raft RPC to ourselves", ErrSameNode)
	}
	c := t.p.link(string(id)).connected()
	if c == nil {
		return ErrNotConnected
	}
	w := pendingRPCs.Get().(*pendingRPC)
	f.shard = t.shard
	request, err := c.sendRPC(f, w)
	if err != nil {
		pendingRPCs.Put(w)
		return err
	}
	w.timer.Reset(t.p.cfg.Limits.RPC + time.Duration(f.size>>20)*time.Second)
	var a rpcAnswer
	select {
	case a = <-w.ch:
	case <-w.timer.C:
		a = c.giveUp(request, w, ErrRPCTimeout)
	case <-t.ctx.Done():
		a = c.giveUp(request, w, ErrTransportClosed)
	}
	w.timer.Stop()
	err = a.err
	if err == nil {
		err = decodeRPCAnswer(a.payload, resp)
	}
	pendingRPCs.Put(w)
	return err
}

// sendRPC queues the frame of an RPC and returns its request number.
func (c *conn) sendRPC(f outFrame, w *pendingRPC) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return 0, ErrNotConnected
	}
	if c.full(raftQueue) {
		return 0, fmt.Errorf("%w: %d", ErrQueueFull, c.queues[raftQueue].waiting())
	}
	f.request = c.pending.add(pendingRequest{rpc: w, at: c.queues[raftQueue].total})
	c.send(raftQueue, f)
	return f.request, nil
}

// giveUp forgets an RPC and returns why as its failure. If the RPC was answered in the
// meantime, giveUp returns that answer instead.
func (c *conn) giveUp(request uint64, w *pendingRPC, why error) rpcAnswer {
	c.mu.Lock()
	s := c.pending.get(request)
	mine := s != nil && s.rpc == w
	if mine {
		c.pending.remove(request)
	}
	c.mu.Unlock()
	if mine {
		return rpcAnswer{err: why}
	}
	return <-w.ch
}

// onRPCAnswer hands an answer to the caller that waits for it, if any still does.
func (c *conn) onRPCAnswer(f frame) {
	c.mu.Lock()
	s := c.pending.get(f.request)
	if s == nil || s.rpc == nil {
		c.mu.Unlock()
		return
	}
	w := s.rpc
	c.pending.remove(f.request)
	c.mu.Unlock()
	w.ch <- rpcAnswer{payload: append(w.small[:0], f.payload...)}
}

// onRPC hands a Raft request from the other node to the shard's Raft.
func (c *conn) onRPC(f frame) error {
	payload := f.payload
	if !f.owned { // Raft keeps slices of the decoded request
		payload = append(make([]byte, 0, len(payload)), payload...)
	}
	var cmd raft.WithRPCHeader
	var err error
	switch f.typ {
	case typeAppend, typeAnnounce:
		cmd, err = decodeAppendEntries(payload)
	case typeVote:
		cmd, err = decodeVote(payload)
	case typePreVote:
		cmd, err = decodePreVote(payload)
	default:
		cmd, err = decodeTimeoutNow(payload)
	}
	if err != nil {
		return err
	}
	if err := c.p.deliver(c, f, cmd); err != nil {
		c.answerRPC(f, raft.RPCResponse{Error: err}, false)
	}
	return nil
}

// deliver hands a request to the shard's Raft without waiting for it, so that a shard
// that takes no requests does not hold up the other shards on the connection.
func (p *Peers) deliver(c *conn, f frame, cmd raft.WithRPCHeader) error {
	if err := checkSender(cmd, c.peer.node); err != nil {
		return err
	}
	t := p.endpoint(f.shard)
	if t == nil {
		return fmt.Errorf("%w: shard %d", ErrNoReplica, f.shard)
	}
	answer := make(chan raft.RPCResponse, 1)
	if err := t.push(raft.RPC{Command: cmd, RespChan: answer}); err != nil {
		return err
	}
	f.payload = nil
	lazy := false
	if a, ok := cmd.(*raft.AppendEntriesRequest); ok {
		lazy = len(a.Entries) == 0 && f.typ == typeAppend
	}
	// One goroutine waits for each answer: at most about maxRPCsWaiting for a shard, and
	// none when the shard is idle.
	p.goFunc(func() {
		select {
		case a := <-answer:
			c.answerRPC(f, a, lazy)
		case <-t.ctx.Done():
			c.answerRPC(f, raft.RPCResponse{Error: ErrTransportClosed}, false)
		case <-c.done:
		}
	})
	return nil
}

// checkSender refuses a request whose header names another node than the sender.
func checkSender(cmd raft.WithRPCHeader, node string) error {
	if h := cmd.GetRPCHeader(); string(h.ID) != node {
		return fmt.Errorf("%w: %q, not %q", ErrSender, h.ID, node)
	}
	return nil
}

// endpoint returns the shard's transport, or nil.
func (p *Peers) endpoint(shard uint32) *Transport {
	if t, ok := p.endpoints.Load(shard); ok {
		return t.(*Transport)
	}
	return nil
}

// push puts a request into the queue that Raft reads, or fails if it is full.
func (t *Transport) push(rpc raft.RPC) error {
	if t.ctx.Err() != nil {
		return ErrTransportClosed
	}
	if mutant.HeartbeatFastPath && t.handledBeside(rpc) {
		return nil
	}
	select {
	case t.requests <- rpc:
		return nil
	default:
		return fmt.Errorf("%w: shard %d", ErrRaftBusy, t.shard)
	}
}

// handledBeside hands a heartbeat to the handler that Raft has set, which runs beside
// Raft's main loop, and reports whether rpc was a heartbeat: see
// mutant.HeartbeatFastPath.
func (t *Transport) handledBeside(rpc raft.RPC) bool {
	f := t.fastPath.Load()
	a, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if f == nil || !ok || len(a.Entries) > 0 || a.PrevLogEntry > 0 {
		return false
	}
	(*f)(rpc)
	return true
}

// answerRPC queues Raft's answer to the request f.
func (c *conn) answerRPC(f frame, a raft.RPCResponse, lazy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	// Answers are small, and there is at most one for each request, so they are queued
	// even when the queue is full.
	c.send(raftQueue, outFrame{typ: f.typ | answer, shard: f.shard, request: f.request, lazy: lazy,
		payload: func(b []byte) []byte { return appendRPCAnswer(b, a) }})
}
