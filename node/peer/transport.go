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

// Transport is one shard's raft.Transport over the node's connections. Server IDs
// and addresses are node IDs. It implements raft.WithPreVote and raft.WithClose.
//
// It differs from raft's own in what it leaves out and what it refuses:
//
//   - SetHeartbeatHandler is ignored; heartbeats go through Consumer like all else.
//     Handled beside Raft's main loop, a heartbeat of a higher term can change the
//     term between that loop's check of its leadership and its append, and a log
//     record gets a term its writer has no right to.
//   - AppendEntriesPipeline is not supported: with unbuffered hand-offs on both
//     sides one rejection can wedge it until the leader restarts.
//   - While Config.Stalled says that syncs hang, nothing that a leader sends is
//     sent: Raft's heartbeats run beside its main loop, and would keep a leader in
//     office that cannot write.
//   - An AppendEntries is cut to maxAppendBytes, which Raft only bounds by count.
//   - A snapshot that the replica does not need is not installed (snapshot_in.go).
//   - A request that names another sender than the connection's node is refused.
//
// Raft's shutdown waits for RPCs under way; Close, called before it, ends them.
type Transport struct {
	p     *Peers
	shard uint32
	opts  TransportOptions

	// incoming holds requests for Raft, maxRPCsWaiting at most; more are refused. It
	// is never closed: Raft would read requests without end.
	incoming chan raft.RPC
	fastPath atomic.Pointer[func(raft.RPC)] // nil, but for a mutant

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// TransportOptions is what a transport needs to know of its replica.
type TransportOptions struct {
	// Applied is the index the replica's state machine has applied. It only grows.
	Applied func() uint64
	// StaleSnapshot, if not nil, is told of a snapshot that was refused because the
	// state machine is past it while the log neither holds nor lacks its index. Often
	// it is a late duplicate. Again and again from one leader it means that the
	// replica's log conflicts with the leader's, which Raft does not get out of.
	StaleSnapshot func(index, term uint64)
}

// Failures of Raft RPCs besides ErrNotConnected.
var (
	// ErrStalled: this node's log syncs hang, so it sends nothing as a leader.
	ErrStalled = errors.New("peer: withheld: syncs of the raft log hang")
	// ErrRPCTimeout: the other replica did not answer in time.
	ErrRPCTimeout = errors.New("peer: raft RPC timed out")
	// ErrTransportClosed: the shard's transport was closed, here or over there.
	ErrTransportClosed = errors.New("peer: transport closed")
	// ErrNoReplica: the node has no transport for the shard.
	ErrNoReplica = errors.New("peer: no replica of the shard here")
	// ErrRaftBusy: maxRPCsWaiting requests wait for the replica's Raft already.
	ErrRaftBusy = errors.New("peer: the replica does not take its requests")
	// ErrQueueFull: Limits.QueueBytes wait to be written to the node.
	ErrQueueFull = errors.New("peer: too many bytes wait to be written to the node")
	// ErrSender: a request in another node's name.
	ErrSender = errors.New("peer: the request names another sender than its connection")
)

// Transport makes the transport of a shard, which receives the shard's RPCs from
// now on. One that exists already is closed.
func (p *Peers) Transport(shard uint32, o TransportOptions) *Transport {
	if o.Applied == nil {
		o.Applied = func() uint64 { return 0 }
	}
	t := &Transport{p: p, shard: shard, opts: o, incoming: make(chan raft.RPC, maxRPCsWaiting)}
	t.ctx, t.cancel = context.WithCancel(p.ctx)
	if old, ok := p.endpoints.Swap(shard, t); ok {
		old.(*Transport).cancel()
	}
	return t
}

// Close ends every RPC under way and refuses those to come. It may be called before
// raft's Shutdown, which calls it again.
func (t *Transport) Close() error {
	t.cancel()
	t.p.endpoints.CompareAndDelete(t.shard, t)
	return nil
}

// Consumer implements raft.Transport.
func (t *Transport) Consumer() <-chan raft.RPC { return t.incoming }

// LocalAddr implements raft.Transport: it is the node ID.
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

// AppendEntries implements raft.Transport. It may cut args.Entries to what it sends:
// Raft goes on after the last of them, whatever it had meant to send.
func (t *Transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.p.cfg.Stalled() {
		return ErrStalled
	}
	size := appendEntriesFixed(args)
	for i, l := range args.Entries {
		n := logSize(l)
		if i > 0 && size+n > maxAppendBytes {
			args.Entries = args.Entries[:i]
			// A follower commits what it was not shown, if it is told to.
			args.LeaderCommitIndex = min(args.LeaderCommitIndex, args.Entries[i-1].Index)
			break
		}
		size += n
	}
	if size > maxAppendPayload {
		return fmt.Errorf("%w: record %d of shard %d has %d bytes", ErrFrameTooLarge, args.Entries[0].Index, t.shard, size)
	}
	return t.ask(id, typeAppend, len(args.Entries) == 0, size, func(b []byte) []byte { return appendEntries(b, args) }, resp)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.ask(id, typeVote, false, 0, func(b []byte) []byte { return appendVote(b, args) }, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.ask(id, typePreVote, false, 0, func(b []byte) []byte { return appendPreVote(b, args) }, resp)
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.ask(id, typeTimeoutNow, false, 0, func(b []byte) []byte { return appendRPCHeader(b, &args.RPCHeader) }, resp)
}

// Reach waits until there is a connection to a node, or t is closed, for d at most. It
// reports whether the wait is over: a message then goes out, or is refused for good.
func (t *Transport) Reach(id raft.ServerID, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	return t.p.link(string(id)).await(ctx) || t.ctx.Err() != nil
}

// Absent reports whether an RPC failed because the node, which answered, has no replica
// of the shard, or is just closing or opening it.
func (t *Transport) Absent(err error) bool { return errors.Is(err, ErrNoReplica) }

// rpcWait is where the asker of an RPC waits. Reused.
type rpcWait struct {
	ch    chan rpcAnswer // of one
	timer *time.Timer
	small [192]byte // room for most answers
}

// rpcAnswer is an answer's payload, in the wait's own memory, or why there is none.
type rpcAnswer struct {
	payload []byte
	err     error
}

var rpcWaits = sync.Pool{New: func() any {
	w := &rpcWait{ch: make(chan rpcAnswer, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

// ask sends an RPC and waits for its answer, which it reads into resp. A lazy one
// and its answer may wait a little for company.
func (t *Transport) ask(id raft.ServerID, typ frameType, lazy bool, size int, payload func([]byte) []byte, resp any) error {
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
	w := rpcWaits.Get().(*rpcWait)
	request, err := c.sendRPC(typ, lazy, t.shard, size, payload, w)
	if err != nil {
		rpcWaits.Put(w)
		return err
	}
	w.timer.Reset(t.p.cfg.Limits.RPC + time.Duration(size>>20)*time.Second)
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
	rpcWaits.Put(w)
	return err
}

func (c *conn) sendRPC(typ frameType, lazy bool, shard uint32, size int, payload func([]byte) []byte, w *rpcWait) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return 0, ErrNotConnected
	}
	if c.full(laneRaft) {
		return 0, fmt.Errorf("%w: %d", ErrQueueFull, c.lanes[laneRaft].waiting())
	}
	request := c.open.add(openSlot{rpc: w, at: c.lanes[laneRaft].total})
	c.queue(laneRaft, lazy, typ, shard, request, size, payload)
	return request, nil
}

// giveUp forgets an RPC, unless its answer is just coming: then it returns that.
func (c *conn) giveUp(request uint64, w *rpcWait, why error) rpcAnswer {
	c.mu.Lock()
	s := c.open.get(request)
	mine := s != nil && s.rpc == w
	if mine {
		c.open.remove(request)
	}
	c.mu.Unlock()
	if mine {
		return rpcAnswer{err: why}
	}
	return <-w.ch
}

func (c *conn) onRPCAnswer(f frame) {
	c.mu.Lock()
	s := c.open.get(f.request)
	if s == nil || s.rpc == nil {
		c.mu.Unlock()
		return
	}
	w := s.rpc
	c.open.remove(f.request)
	c.mu.Unlock()
	w.ch <- rpcAnswer{payload: append(w.small[:0], f.payload...)}
}

// onRPC hands a Raft request from the other node to the shard's Raft.
func (c *conn) onRPC(f frame) error {
	payload := f.payload
	if !f.owned { // Raft keeps what it decodes to
		payload = append(make([]byte, 0, len(payload)), payload...)
	}
	var cmd raft.WithRPCHeader
	var err error
	switch f.typ {
	case typeAppend:
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

// deliver hands a request to the shard's Raft, without waiting for it: if one shard
// does not take its requests the others must not suffer.
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
		lazy = len(a.Entries) == 0
	}
	// A goroutine for each request that Raft has taken or will: at most
	// maxRPCsWaiting a shard, and none when idle.
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

// checkSender refuses a request in the name of another node than the one that sent it.
func checkSender(cmd raft.WithRPCHeader, node string) error {
	if h := cmd.GetRPCHeader(); string(h.ID) != node {
		return fmt.Errorf("%w: %q, not %q", ErrSender, h.ID, node)
	}
	return nil
}

func (p *Peers) endpoint(shard uint32) *Transport {
	if t, ok := p.endpoints.Load(shard); ok {
		return t.(*Transport)
	}
	return nil
}

func (t *Transport) push(rpc raft.RPC) error {
	if t.ctx.Err() != nil {
		return ErrTransportClosed
	}
	if mutant.HeartbeatFastPath && t.handledBeside(rpc) {
		return nil
	}
	select {
	case t.incoming <- rpc:
		return nil
	default:
		return fmt.Errorf("%w: shard %d", ErrRaftBusy, t.shard)
	}
}

// handledBeside hands a heartbeat to the handler that Raft has set, beside its main
// loop, and reports whether rpc was one: see mutant.HeartbeatFastPath.
func (t *Transport) handledBeside(rpc raft.RPC) bool {
	f := t.fastPath.Load()
	a, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if f == nil || !ok || len(a.Entries) > 0 || a.PrevLogEntry > 0 {
		return false
	}
	(*f)(rpc)
	return true
}

func (c *conn) answerRPC(f frame, a raft.RPCResponse, lazy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	// Answers are small and at most one for each request: they are always queued.
	c.queue(laneRaft, lazy, f.typ|answer, f.shard, f.request, 0, func(b []byte) []byte { return appendRPCAnswer(b, a) })
}
