package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"time"
)

// The frames on a snapshot's connection, after a handshake with purposeBulk. The sender
// of the snapshot has dialled. S is the sender, R the receiver.
//
//	S→R install    the InstallSnapshot request
//	R→S work       from time to time, while the snapshot waits for its turn
//	R→S go         or, if R does not need the snapshot or refuses it, its answer; the end
//	S→R chunk …    until the Size bytes of the request are sent
//	R→S work       from time to time, while R receives and installs
//	R→S answer     once; the end
//
// The payload of a chunk is | CRC-32C of the data u32 | data |. Each side gives up if
// nothing arrives, or nothing can be written, for Limits.SnapshotProgress. The transfer
// as a whole has no time limit, because a large snapshot on a slow link takes long.

// ErrSnapshotCorrupt means that the checksum of a chunk does not match its data.
var ErrSnapshotCorrupt = errors.New("peer: snapshot chunk with a wrong checksum")

// chunkData is the number of bytes of data in a full chunk.
const chunkData = maxChunkPayload - 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendChunk writes a chunk's frame.
func appendChunk(b []byte, shard uint32, data []byte) []byte {
	b = appendHead(b, typeChunk, shard, 0, 4+len(data))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(data, castagnoli))
	return append(b, data...)
}

// decodeChunk checks a chunk and returns its data, a slice of payload.
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

// writeFrame writes a frame to a snapshot's connection, within Limits.SnapshotProgress.
func (p *Peers) writeFrame(nc net.Conn, frame []byte) error {
	if err := nc.SetWriteDeadline(time.Now().Add(p.cfg.Limits.SnapshotProgress)); err != nil {
		return err
	}
	_, err := nc.Write(frame)
	return err
}

// progressReader reads from a connection. Every read may take as long as limit.
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
