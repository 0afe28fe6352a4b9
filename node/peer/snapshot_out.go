package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// InstallSnapshot implements raft.Transport. It sends the snapshot on a connection of
// its own. The node sends at most maxSnapshots at once, and Limits.SnapshotRate bytes a
// second for all of them together; further snapshots wait for their turn.
func (t *Transport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if t.p.cfg.Stalled() {
		return ErrStalled
	}
	err := t.sendSnapshot(string(id), args, resp, data)
	if err != nil {
		if t.ctx.Err() != nil {
			err = ErrTransportClosed
		}
		return fmt.Errorf("snapshot of shard %d at %d to %.8s: %w", t.shard, args.LastLogIndex, id, err)
	}
	return nil
}

// sendSnapshot sends the request, waits for the receiver's go, streams the data and
// waits for the answer.
func (t *Transport) sendSnapshot(node string, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := acquire(t.ctx, t.p.snapOut, t.p.cfg.Limits.SnapshotWait); err != nil {
		return err
	}
	defer func() { <-t.p.snapOut }()

	addr, err := t.p.addressOf(node)
	if err != nil {
		return err
	}
	nc, _, err := t.p.dial(t.ctx, addr, purposeBulk, node)
	if err != nil {
		return err
	}
	defer t.p.drop(nc)
	defer context.AfterFunc(t.ctx, func() { nc.Close() })()

	payload := appendInstall(nil, args)
	if len(payload) > maxInstall {
		return fmt.Errorf("%w: a request of %d bytes", ErrFrameTooLarge, len(payload))
	}
	if err := t.p.writeFrame(nc, append(appendHead(nil, typeInstall, t.shard, 0, len(payload)), payload...)); err != nil {
		return err
	}

	v := &snapshotVerdict{goAhead: make(chan struct{}), done: make(chan struct{}), resp: resp}
	if !t.p.goFunc(func() { v.read(nc, t.p.cfg.Limits.SnapshotProgress) }) {
		return ErrClosed
	}
	defer func() { // after we return, v must not write to resp any more
		nc.Close()
		<-v.done
	}()
	select {
	case <-v.goAhead:
	case <-v.done:
		return v.err
	}
	if err := t.stream(nc, args.Size, data, v.done); errors.Is(err, errHungUp) {
		// The receiver may have answered with the reason before it hung up.
		select {
		case <-v.done:
			if v.answered {
				return v.err
			}
		case <-time.After(time.Second):
		}
		return err
	} else if err != nil {
		return err
	}
	<-v.done
	return v.err
}

// errHungUp: the receiver takes no more chunks.
var errHungUp = errors.New("peer: the receiver takes no more of the snapshot")

// stream sends size bytes of data in chunks. It stops early, without an error, when
// done is closed.
func (t *Transport) stream(nc net.Conn, size int64, data io.Reader, done <-chan struct{}) error {
	buf := make([]byte, min(size, chunkData))
	var out []byte
	for left := size; left > 0; {
		n := int(min(left, chunkData))
		if _, err := io.ReadFull(data, buf[:n]); err != nil {
			return fmt.Errorf("read the snapshot, %d of %d bytes left: %w", left, size, err)
		}
		if err := t.p.rate.wait(t.ctx, n); err != nil {
			return err
		}
		select {
		case <-done:
			return nil
		default:
		}
		out = appendChunk(out[:0], t.shard, buf[:n])
		if err := t.p.writeFrame(nc, out); err != nil {
			return fmt.Errorf("%w: %w", errHungUp, err)
		}
		left -= int64(n)
	}
	return nil
}

// snapshotVerdict collects the frames that the receiver of a snapshot sends.
type snapshotVerdict struct {
	goAhead chan struct{} // closed when chunks may be sent
	done    chan struct{} // closed at the end, after the fields below are set
	resp    *raft.InstallSnapshotResponse
	// answered means that the end was an answer; err is then the error in it, if any.
	answered bool
	err      error
}

// read reads frames until the answer, or until nc breaks or is silent for limit.
func (v *snapshotVerdict) read(nc net.Conn, limit time.Duration) {
	defer close(v.done)
	fr := newFrameReader(progressReader{nc, limit})
	for going := false; ; {
		var f frame
		if f, v.err = fr.next(); v.err != nil {
			return
		}
		switch {
		case f.typ == typeInstallWork:
		case f.typ == typeInstallGo && !going:
			going = true
			close(v.goAhead)
		case f.typ == typeInstall|answer:
			v.err = decodeRPCAnswer(f.payload, v.resp)
			v.answered = true
			return
		default:
			v.err = fmt.Errorf("%w: type 0x%02x on a snapshot's connection", ErrMalformed, uint8(f.typ))
			return
		}
	}
}

// errNoTurn: other snapshots took all places for Limits.SnapshotWait.
var errNoTurn = errors.New("peer: other snapshots are under way")

// acquire takes a place in a semaphore. It fails with errNoTurn after limit.
func acquire(ctx context.Context, sem chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case sem <- struct{}{}:
		return nil
	case <-timer.C:
		return errNoTurn
	case <-ctx.Done():
		return ctx.Err()
	}
}
