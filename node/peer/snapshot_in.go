package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
)

// ErrStaleSnapshot: the replica has applied more than the snapshot holds.
var ErrStaleSnapshot = errors.New("peer: the snapshot is older than the replica's state")

// receiveSnapshot is the receiver's side of a bulk connection.
func (p *Peers) receiveSnapshot(nc net.Conn, who identity) {
	in := &snapshotReceiver{p: p, nc: nc, who: who}
	in.frames = newFrameReader(progressReader{nc, p.cfg.Limits.SnapshotProgress})
	f, err := in.frames.next()
	if err == nil && f.typ != typeInstall {
		err = fmt.Errorf("%w: type 0x%02x begins a snapshot", ErrMalformed, uint8(f.typ))
	}
	if err == nil {
		in.args, err = decodeInstall(append([]byte(nil), f.payload...))
	}
	if err != nil {
		p.refused("snapshot connection closed", nc, err, "node", who.node)
		return
	}
	in.shard, in.left = f.shard, in.args.Size
	a := in.install()
	level := slog.LevelInfo
	if a.Error != nil {
		level = slog.LevelWarn
	}
	p.cfg.Logger.Log(p.ctx, level, "snapshot from peer answered", "node", who.node, "shard", in.shard,
		"index", in.args.LastLogIndex, "bytes", in.args.Size, "err", a.Error)
	payload := appendRPCAnswer(nil, a)
	b := appendHead(nil, typeInstall|answer, in.shard, 0, len(payload))
	if err := p.writeFrame(nc, append(b, payload...)); err != nil {
		return
	}
	// The sender closes once it has the answer. If we closed first, with chunks unread
	// in our buffer, the connection would be reset, and the answer could be lost.
	if err := nc.SetReadDeadline(time.Now().Add(time.Second)); err == nil {
		_, _ = io.Copy(io.Discard, nc)
	}
}

// incoming is one snapshot on its way in, and the reader Raft reads it from.
type snapshotReceiver struct {
	p     *Peers
	t     *Transport
	nc    net.Conn
	who   identity
	shard uint32
	args  *raft.InstallSnapshotRequest

	// Raft's main loop reads, until it has answered.
	frames *frameReader
	chunk  []byte // what is left of the last chunk
	left   int64  // bytes of the snapshot not yet read
	fresh  bool   // what Applied said before the transfer does not make it stale
	begun  bool
	err    error // why reading failed; it stays failed
}

// install takes a snapshot as far as it must.
//
// Raft installs whatever snapshot its leader sends, also one that the replica is
// long past: a late duplicate throws the state machine back, and may cost records
// that were acknowledged. So a replica whose state machine has applied the
// snapshot's last index must not install it. But it must not claim success either
// unless Raft itself would go on from there:
//
//   - A snapshot of a term older than the replica's is refused, or a deposed leader
//     would take the success for support.
//   - One of a newer term must depose this replica's leader, as any message does.
//   - After a success the leader goes on with the record behind the snapshot. If the
//     log does not hold the snapshot's last record the append is rejected, the leader
//     sends the same snapshot again, and so on for ever.
//
// All three are one question, which Raft itself answers on its own main loop: an
// AppendEntries of the leader's term, without records, whose previous record is the
// snapshot's last. Its commit index is zero, so it changes nothing but what every
// message of a leader changes. For a replica past the snapshot:
//
//	term in the answer is newer → that term, no success
//	success                     → success: log and state hold all the snapshot does
//	log ends before the index   → Raft decides: no shard that opened is so, since it has
//	                              no state beyond its log, and its sink takes nothing
//	otherwise                   → ErrStaleSnapshot: the log was cut past the index, or
//	                              conflicts with the leader's (TransportOptions.StaleSnapshot)
//
// A replica that is not past the snapshot is asked too: a refusal of an old term
// then costs no transfer.
//
// Between that answer and Raft's turn to install, the replica can only move on if
// its leader, or a new one, sends records. The reader looks once more when Raft
// begins to read, on the main loop, where nothing else moves.
func (in *snapshotReceiver) install() raft.RPCResponse {
	if err := checkSender(in.args, in.who.node); err != nil {
		return raft.RPCResponse{Error: err}
	}
	t := in.p.endpoint(in.shard)
	if t == nil {
		return raft.RPCResponse{Error: fmt.Errorf("%w: shard %d", ErrNoReplica, in.shard)}
	}
	in.t = t
	// Whoever waits on the connection stops waiting when the transport is closed:
	// Raft's main loop above all, which its shutdown waits for.
	defer context.AfterFunc(t.ctx, func() { in.nc.Close() })()

	if err := in.turn(); err != nil {
		return raft.RPCResponse{Error: err}
	}
	defer func() { <-in.p.snapIn }()

	args := in.args
	a := in.ask(raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: args.RPCHeader, Term: args.Term, Leader: args.Leader,
		PrevLogEntry: args.LastLogIndex, PrevLogTerm: args.LastLogTerm}})
	if a.Error != nil {
		return a
	}
	now, ok := a.Response.(*raft.AppendEntriesResponse)
	if !ok {
		return raft.RPCResponse{Error: errNoAnswer}
	}
	applied := t.opts.Applied()
	switch {
	case now.Term > args.Term:
		return raft.RPCResponse{Response: &raft.InstallSnapshotResponse{RPCHeader: now.RPCHeader, Term: now.Term}}
	case applied < args.LastLogIndex, mutant.StaleSnapshots:
		in.fresh = true
	case now.Success:
		return raft.RPCResponse{Response: &raft.InstallSnapshotResponse{RPCHeader: now.RPCHeader, Term: now.Term, Success: true}}
	case now.LastLog >= args.LastLogIndex:
		if t.opts.StaleSnapshot != nil {
			t.opts.StaleSnapshot(args.LastLogIndex, args.LastLogTerm)
		}
		return raft.RPCResponse{Error: in.stale(applied)}
	}
	if err := in.p.writeFrame(in.nc, appendHead(nil, typeInstallGo, in.shard, 0, 0)); err != nil {
		return raft.RPCResponse{Error: err}
	}
	return in.ask(raft.RPC{Command: args, Reader: in})
}

func (in *snapshotReceiver) stale(applied uint64) error {
	return fmt.Errorf("%w: it ends at %d, applied is %d", ErrStaleSnapshot, in.args.LastLogIndex, applied)
}

// turn waits for a place among the snapshots taken in.
func (in *snapshotReceiver) turn() error {
	defer in.p.snapWaiting.Add(-1)
	if in.p.snapWaiting.Add(1) > maxSnapshotsWaiting {
		return fmt.Errorf("%w: %d snapshots wait to be taken", ErrBusy, maxSnapshotsWaiting)
	}
	limit := time.NewTimer(in.p.cfg.Limits.SnapshotWait)
	defer limit.Stop()
	work := time.NewTicker(in.p.cfg.Limits.SnapshotProgress / 4)
	defer work.Stop()
	for {
		select {
		case in.p.snapIn <- struct{}{}:
			return nil
		case <-work.C:
			if err := in.working(); err != nil {
				return err
			}
		case <-limit.C:
			return errNoTurn
		case <-in.t.ctx.Done():
			return ErrTransportClosed
		}
	}
}

// ask hands Raft a request and waits for its answer, however long that takes, while
// the sender keeps listening.
func (in *snapshotReceiver) ask(rpc raft.RPC) raft.RPCResponse {
	answer := make(chan raft.RPCResponse, 1)
	rpc.RespChan = answer
	if err := in.t.push(rpc); err != nil {
		return raft.RPCResponse{Error: err}
	}
	work := time.NewTicker(in.p.cfg.Limits.SnapshotProgress / 4)
	defer work.Stop()
	for gone := false; ; {
		select {
		case a := <-answer:
			return a
		case <-work.C:
			if gone {
				continue
			}
			if err := in.working(); err != nil {
				// Nobody listens any more, but Raft may be reading, and notice by itself:
				// it is waited for, or it would read from a connection without an owner.
				gone = true
				in.nc.Close()
			}
		case <-in.t.ctx.Done():
			return raft.RPCResponse{Error: ErrTransportClosed}
		}
	}
}

func (in *snapshotReceiver) working() error {
	return in.p.writeFrame(in.nc, appendHead(nil, typeInstallWork, in.shard, 0, 0))
}

// Read is called by Raft. A failed stream stays failed: what is read is exactly the
// snapshot or ends with an error.
func (in *snapshotReceiver) Read(b []byte) (int, error) {
	if in.err == nil {
		in.err = in.fill()
	}
	if in.err != nil {
		return 0, in.err
	}
	n := copy(b, in.chunk)
	in.chunk = in.chunk[n:]
	in.left -= int64(n)
	return n, nil
}

// fill makes chunk hold something.
func (in *snapshotReceiver) fill() error {
	if !in.begun {
		in.begun = true
		if applied := in.t.opts.Applied(); in.fresh && applied >= in.args.LastLogIndex && !mutant.StaleSnapshots {
			return in.stale(applied)
		}
	}
	if len(in.chunk) > 0 {
		return nil
	}
	if in.left == 0 {
		return io.EOF
	}
	f, err := in.frames.next()
	switch {
	case in.t.ctx.Err() != nil:
		return ErrTransportClosed
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %d of %d bytes are missing", io.ErrUnexpectedEOF, in.left, in.args.Size)
	case err != nil:
		return err
	case f.typ != typeChunk || f.shard != in.shard:
		return fmt.Errorf("%w: type 0x%02x of shard %d in a snapshot of shard %d", ErrMalformed, uint8(f.typ), f.shard, in.shard)
	}
	in.chunk, err = decodeChunk(f.payload)
	if err == nil && int64(len(in.chunk)) > in.left {
		err = fmt.Errorf("%w: the snapshot is longer than its %d bytes", ErrMalformed, in.args.Size)
	}
	return err
}
