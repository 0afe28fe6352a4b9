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

// InstallSnapshot implements raft.Transport. The snapshot goes over a connection of
// its own. It waits its turn among the node's snapshots, of which maxSnapshots are
// sent at once, at Limits.SnapshotRate together.
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
	defer func() { // resp is the caller's again when we return
		nc.Close()
		<-v.done
	}()
	select {
	case <-v.goAhead:
	case <-v.done:
		return v.err
	}
	if err := t.stream(nc, args.Size, data, v.done); errors.Is(err, errHungUp) {
		// The receiver may have said why it hung up.
		select {
		case <-v.done:
			if v.said {
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
var errHungUp = errors.New("peer: snapshot not taken")

// stream sends size bytes of data, or until done is closed.
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

// snapshotVerdict is what the receiver of a snapshot says.
type snapshotVerdict struct {
	goAhead chan struct{} // closed when chunks may be sent
	done    chan struct{} // closed at the end; then the fields below are set
	resp    *raft.InstallSnapshotResponse
	said    bool // the end was an answer
	err     error
}

// read reads until the answer, or until nc breaks or is silent for limit.
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
			v.said = true
			return
		default:
			v.err = fmt.Errorf("%w: type 0x%02x on a snapshot's connection", ErrMalformed, uint8(f.typ))
			return
		}
	}
}

// errNoTurn: too many snapshots are under way.
var errNoTurn = errors.New("peer: other snapshots are under way")

// acquire takes a place in a semaphore, or fails after limit.
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
