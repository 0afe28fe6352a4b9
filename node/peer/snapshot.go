package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"time"
)

// A snapshot's connection, after its handshake for bulk. The sender is the dialler.
//
//	sender → install: the InstallSnapshot request
//	receiver → work, from time to time, while it waits for its turn; then go; or,
//	           instead, its answer: the snapshot is not needed, or refused
//	sender → chunks, until the request's Size bytes are sent
//	receiver → work, from time to time; its answer, once
//
// A chunk's payload is | CRC-32C of the data u32 | data |. Either side gives up when
// the other moves nothing for Limits.SnapshotProgress; there is no limit on the
// whole, which may be large on a slow link.

// ErrSnapshotCorrupt: a chunk's checksum does not match its data.
var ErrSnapshotCorrupt = errors.New("peer: snapshot chunk with a wrong checksum")

const chunkData = maxChunkPayload - 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendChunk writes a chunk's frame.
func appendChunk(b []byte, shard uint32, data []byte) []byte {
	b = appendHead(b, typeChunk, shard, 0, 4+len(data))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(data, castagnoli))
	return append(b, data...)
}

// decodeChunk returns the data, which is part of payload.
func decodeChunk(payload []byte) ([]byte, error) {
	r := &reader{b: payload}
	sum := r.u32()
	if r.bad || len(r.b) == 0 {
		return nil, fmt.Errorf("%w: a chunk without data", ErrMalformed)
	}
	if crc32.Checksum(r.b, castagnoli) != sum {
		return nil, ErrSnapshotCorrupt
	}
	return r.b, nil
}

// writeFrame writes to a snapshot's connection within the progress deadline.
func (p *Peers) writeFrame(nc net.Conn, frame []byte) error {
	if err := nc.SetWriteDeadline(time.Now().Add(p.cfg.Limits.SnapshotProgress)); err != nil {
		return err
	}
	_, err := nc.Write(frame)
	return err
}

// progressReader moves a connection's read deadline before every read.
type progressReader struct {
	nc    net.Conn
	limit time.Duration
}

func (r progressReader) Read(b []byte) (int, error) {
	if err := r.nc.SetReadDeadline(time.Now().Add(r.limit)); err != nil {
		return 0, err
	}
	return r.nc.Read(b)
}
