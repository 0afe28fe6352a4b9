package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame. Integers are big-endian; length counts the bytes after itself.
//
//	 0        4      5       9            17          17+n
//	+--------+------+-------+------------+-----------+
//	| length | type | shard | request    | payload   |
//	| u32    | u8   | u32   | u64        | n B       |
//	+--------+------+-------+------------+-----------+
//
// request is chosen by the asking side and repeated in the answer; the two
// directions number their requests separately. An answer's type is the question's
// with the top bit set. A frame that answers nothing open is ignored: its asker has
// given up.
const (
	lengthSize = 4
	headSize   = 13 // type, shard, request: the least value of length
	frameSize  = lengthSize + headSize
)

type frameType uint8

const answer frameType = 0x80

const (
	typePing        frameType = 0x01 // empty, as is its answer
	typeAppend      frameType = 0x02
	typeVote        frameType = 0x03
	typePreVote     frameType = 0x04
	typeTimeoutNow  frameType = 0x05
	typeInstall     frameType = 0x06 // bulk connections only, as are the next three
	typeInstallGo   frameType = 0x07 // receiver to sender: start; empty
	typeInstallWork frameType = 0x08 // receiver to sender: still at it; empty
	typeChunk       frameType = 0x09
	typeCall        frameType = 0x10
	typeCancel      frameType = 0x11 // request names the call to cancel; empty, no answer
	typeProbe       frameType = 0x12
	typeHello       frameType = 0x13 // hello connections only
)

// The largest payloads. They guard against a peer gone wrong, not against load:
// nothing is allocated before it has arrived.
const (
	// maxAppendPayload has room for one record far above what a shard proposes;
	// a sender splits before maxAppendBytes where it can.
	maxAppendPayload = 64 << 20
	maxCallPayload   = 32 << 20
	maxReplyPayload  = 128 << 20
	maxRPCPayload    = 4 << 10
	maxProbePayload  = 128 << 10
	maxInstall       = 1 << 20 // its configuration lists a shard's replicas
	maxChunkPayload  = 60 << 10
)

// maxPayload is the largest payload of a type; false for a type that does not exist.
func maxPayload(t frameType) (int, bool) {
	switch t {
	case typePing, typePing | answer, typeCancel, typeInstallGo, typeInstallWork:
		return 0, true
	case typeAppend:
		return maxAppendPayload, true
	case typeCall:
		return maxCallPayload, true
	case typeCall | answer:
		return maxReplyPayload, true
	case typeProbe, typeProbe | answer:
		return maxProbePayload, true
	case typeInstall:
		return maxInstall, true
	case typeChunk:
		return maxChunkPayload, true
	case typeVote, typePreVote, typeTimeoutNow, typeHello,
		typeAppend | answer, typeVote | answer, typePreVote | answer, typeTimeoutNow | answer, typeInstall | answer:
		return maxRPCPayload, true
	}
	return 0, false
}

// ErrFrameTooLarge is the refusal, on either side, of a frame over its type's limit.
var ErrFrameTooLarge = errors.New("peer: frame larger than its type may be")

// frame is one frame as read. payload belongs to the reader's buffer and is valid
// until the next frame is read, unless owned.
type frame struct {
	typ     frameType
	shard   uint32
	request uint64
	payload []byte
	owned   bool
}

func appendHead(b []byte, typ frameType, shard uint32, request uint64, payload int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headSize+payload))
	b = append(b, byte(typ))
	b = binary.BigEndian.AppendUint32(b, shard)
	return binary.BigEndian.AppendUint64(b, request)
}

// readBuffer is how much a connection reads at once.
const readBuffer = 64 << 10

// frameReader cuts a stream into frames. Not safe for concurrent use.
type frameReader struct {
	src  io.Reader
	buf  []byte // buf[r:w] has arrived and is not yet handed out
	r, w int
}

func newFrameReader(src io.Reader) *frameReader {
	return &frameReader{src: src, buf: make([]byte, readBuffer)}
}

// next returns the next frame. It fails with io.EOF at a clean end between frames,
// with io.ErrUnexpectedEOF inside one, with ErrMalformed or ErrFrameTooLarge on
// bytes that are no frame; after a failure the stream is useless.
func (fr *frameReader) next() (frame, error) {
	if err := fr.fill(frameSize); err != nil {
		return frame{}, err
	}
	head := fr.buf[fr.r:]
	length := int64(binary.BigEndian.Uint32(head))
	f := frame{
		typ:     frameType(head[4]),
		shard:   binary.BigEndian.Uint32(head[5:]),
		request: binary.BigEndian.Uint64(head[9:]),
	}
	limit, known := maxPayload(f.typ)
	switch {
	case !known:
		return frame{}, fmt.Errorf("%w: unknown type 0x%02x", ErrMalformed, uint8(f.typ))
	case length < headSize:
		return frame{}, fmt.Errorf("%w: length %d is less than a head", ErrMalformed, length)
	case length-headSize > int64(limit):
		return frame{}, fmt.Errorf("%w: type 0x%02x with %d bytes, at most %d", ErrFrameTooLarge, uint8(f.typ), length-headSize, limit)
	}
	n := int(length - headSize)
	if frameSize+n <= len(fr.buf) {
		if err := fr.fill(frameSize + n); err != nil {
			return frame{}, err
		}
		f.payload = fr.buf[fr.r+frameSize : fr.r+frameSize+n : fr.r+frameSize+n]
		fr.r += frameSize + n
		return f, nil
	}
	fr.r += frameSize
	var err error
	f.payload, err = fr.large(n)
	f.owned = true
	return f, err
}

// fill reads until n ≤ len(buf) bytes are there, and as many more as come along.
func (fr *frameReader) fill(n int) error {
	if fr.w-fr.r >= n {
		return nil
	}
	if fr.r > 0 && (fr.r == fr.w || fr.r+n > len(fr.buf)) {
		fr.w = copy(fr.buf, fr.buf[fr.r:fr.w])
		fr.r = 0
	}
	for fr.w-fr.r < n {
		m, err := fr.src.Read(fr.buf[fr.w:])
		fr.w += m
		if err != nil && fr.w-fr.r < n {
			if err == io.EOF && fr.w > fr.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// large reads a payload that is larger than the buffer. Its allocation at most
// doubles what has arrived, and ends at exactly n: the Raft log keeps slices of it.
func (fr *frameReader) large(n int) ([]byte, error) {
	out := make([]byte, min(n, 2*len(fr.buf)))
	have := copy(out, fr.buf[fr.r:fr.w])
	fr.r += have
	for {
		m, err := io.ReadFull(fr.src, out[have:])
		have += m
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have == n {
			return out, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, out)
		out = grown
	}
}

// putLength fills in the length of a frame whose bytes begin at b.
func putLength(b []byte, n int) { binary.BigEndian.PutUint32(b, uint32(n)) }
