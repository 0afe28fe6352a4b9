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

// ErrStaleSnapshot means that the replica has already applied the snapshot's last record.
var ErrStaleSnapshot = errors.New("peer: the snapshot is older than the replica's state")

// receiveSnapshot serves a bulk connection, as the receiver of the snapshot.
func (p *Peers) receiveSnapshot(nc net.Conn, who identity) {
	in := &snapshotReceiver{p: p, nc: nc, from: who}
	in.frames = newFrameReader(progressReader{nc, p.cfg.Limits.SnapshotProgress})
	f, err := in.frames.next()
	if err == nil && f.typ != typeInstall {
		err = fmt.Errorf("%w: type 0x%02x begins a snapshot", ErrMalformed, uint8(f.typ))
	}
	if err == nil {
		in.args, err = decodeInstall(append([]byte(nil), f.payload...))
	}
	if err != nil {
		p.refused("snapshot connection closed", nc, err, "peer", who.node)
		return
	}
	in.shard, in.left = f.shard, in.args.Size
	a := in.install()
	level := slog.LevelInfo
	if a.Error != nil {
		level = slog.LevelWarn
	}
	p.cfg.Logger.Log(p.ctx, level, "snapshot from peer answered", "peer", who.node, "shard", in.shard,
		"index", in.args.LastLogIndex, "bytes", in.args.Size, "err", a.Error)
	payload := appendRPCAnswer(nil, a)
	b := appendHead(nil, typeInstall|answer, in.shard, 0, len(payload))
	if err := p.writeFrame(nc, append(b, payload...)); err != nil {
		return
	}
	// The sender closes the connection when it has read the answer. If we closed it
	// first, with chunks unread in the socket's buffer, the kernel would reset the
	// connection and the answer could be lost.
	if err := nc.SetReadDeadline(time.Now().Add(time.Second)); err == nil {
		_, _ = io.Copy(io.Discard, nc)
	}
}

// snapshotReceiver receives one snapshot. It is the io.Reader from which Raft reads the
// snapshot's bytes.
type snapshotReceiver struct {
	p     *Peers
	t     *Transport
	nc    net.Conn
	from  identity
	shard uint32
	args  *raft.InstallSnapshotRequest

	// Raft's main loop uses these fields from when it is handed the snapshot until it
	// has answered.
	frames *frameReader
	chunk  []byte // the part of the last chunk that Raft has yet to read
	left   int64  // bytes of the snapshot that Raft has yet to read
	fresh  bool   // the snapshot was newer than the applied state before the transfer
	begun  bool   // Raft has begun to read
	err    error  // the failure of an earlier Read, which every later one repeats
}

// install receives the snapshot and has Raft install it, if the replica needs it.
//
// Raft by itself installs every snapshot that its leader sends, even one that the
// replica is long past. If a replica has applied 200 and a late duplicate of a snapshot
// at 150 arrives, Raft throws the state machine back to 150, and acknowledged records
// may be lost. A replica whose state machine has applied the snapshot's last record
// therefore must not install it. But neither may it always answer success:
//
//   - A snapshot of a term older than the replica's must be refused. Otherwise a
//     deposed leader would count the success as support.
//   - A snapshot of a newer term must depose the leader that the replica follows, as
//     any message of a newer term does.
//   - After a success, the leader continues with the record after the snapshot. If the
//     replica's log does not hold the snapshot's last record, Raft rejects that append,
//     the leader sends the same snapshot again, and so on for ever.
//
// One request to the replica's own Raft settles all three: an AppendEntries of the
// leader's term, without records, whose previous record is the snapshot's last. Its
// commit index is zero, so it has only the effects that any message of a leader has.
// For a replica that is past the snapshot, Raft's answer decides:
//
//	answer has a newer term      → no success, with that term
//	success                      → success: log and state hold all of the snapshot
//	log ends before the snapshot → Raft installs it. This cannot happen in a shard that
//	                               opened, because its state never exceeds its log; its
//	                               sink would discard the data.
//	otherwise                    → ErrStaleSnapshot: the log was truncated beyond the
//	                               snapshot, or conflicts with the leader's log
//	                               (TransportOptions.StaleSnapshot)
//
// A replica that is behind the snapshot is asked too, because the refusal of an old
// term then costs no transfer.
//
// Between that answer and the moment when Raft installs, the replica can pass the
// snapshot if a leader sends records. So fill checks once more when Raft begins to
// read. Raft then reads on its main loop, where no record can be applied meanwhile.
func (in *snapshotReceiver) install() raft.RPCResponse {
	if err := checkSender(in.args, in.from.node); err != nil {
		return raft.RPCResponse{Error: err}
	}
	t := in.p.endpoint(in.shard)
	if t == nil {
		return raft.RPCResponse{Error: fmt.Errorf("%w: shard %d", ErrNoReplica, in.shard)}
	}
	in.t = t
	// Closing the transport ends every read and write on the connection. Raft's main
	// loop may be in such a read, and Raft's Shutdown waits for that loop.
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

// stale returns the refusal of a snapshot that the replica is past.
func (in *snapshotReceiver) stale(applied uint64) error {
	return fmt.Errorf("%w: it ends at %d, applied is %d", ErrStaleSnapshot, in.args.LastLogIndex, applied)
}

// turn waits for one of the maxSnapshots places for snapshots that are received. The
// caller gives it back by reading from snapIn.
func (in *snapshotReceiver) turn() error {
	defer in.p.snapWaiting.Add(-1)
	if in.p.snapWaiting.Add(1) > maxSnapshotsWaiting {
		return fmt.Errorf("%w: %d snapshots wait to be received", ErrBusy, maxSnapshotsWaiting)
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

// ask hands Raft a request and waits for its answer, however long that takes. In the
// meantime it tells the sender, again and again, that the receiver is working.
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
				// The sender is gone. Raft may be reading from the connection, so it is
				// waited for; closing the connection ends its read.
				gone = true
				in.nc.Close()
			}
		case <-in.t.ctx.Done():
			return raft.RPCResponse{Error: ErrTransportClosed}
		}
	}
}

// working tells the sender that the receiver is alive.
func (in *snapshotReceiver) working() error {
	return in.p.writeFrame(in.nc, appendHead(nil, typeInstallWork, in.shard, 0, 0))
}

// Read reads the snapshot's bytes, for Raft. After an error, every further Read fails
// with the same error, so that Raft reads the whole snapshot or sees an error.
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

// fill receives the next chunk if the last one is used up. It returns io.EOF at the end
// of the snapshot.
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
