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
// The sender of a request chooses its number, and the answer repeats it. The two
// directions number their requests independently. The type of an answer is the type of
// the request with the top bit set. An answer to a request that is not open is ignored,
// because its sender has given up waiting.
const (
	lengthSize = 4
	headSize   = 13 // type, shard, request; no length is smaller
	frameSize  = lengthSize + headSize
)

type frameType uint8

const answer frameType = 0x80

const (
	typePing        frameType = 0x01 // empty, like its answer
	typeAppend      frameType = 0x02
	typeVote        frameType = 0x03
	typePreVote     frameType = 0x04
	typeTimeoutNow  frameType = 0x05
	typeInstall     frameType = 0x06 // this and the next three only on bulk connections
	typeInstallGo   frameType = 0x07 // receiver to sender: start; empty
	typeInstallWork frameType = 0x08 // receiver to sender: still working; empty
	typeChunk       frameType = 0x09
	typeCall        frameType = 0x10
	typeCancel      frameType = 0x11 // request names the call to cancel; empty, no answer
	typeProbe       frameType = 0x12
	typeHello       frameType = 0x13 // only on hello connections
	typeLeave       frameType = 0x14 // the sender takes no further calls; empty, like its answer
	typeAnnounce    frameType = 0x15 // an AppendEntries without records that is written at once, like its answer
)

// The largest payloads. They guard against a faulty peer, not against load: memory is
// allocated only for bytes that have arrived.
const (
	// maxAppendPayload has room for one record far larger than any that a shard proposes.
	// Several records are cut at maxAppendBytes by their sender.
	maxAppendPayload = 64 << 20
	maxCallPayload   = 32 << 20
	maxReplyPayload  = 128 << 20
	maxRPCPayload    = 4 << 10
	maxProbePayload  = 128 << 10
	maxInstall       = 1 << 20 // holds the Raft configuration, a list of replicas
	maxChunkPayload  = 60 << 10
)

// maxPayload returns the largest payload of a type, and false if there is no such type.
func maxPayload(t frameType) (int, bool) {
	switch t {
	case typePing, typePing | answer, typeCancel, typeLeave, typeLeave | answer, typeInstallGo, typeInstallWork:
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
	case typeVote, typePreVote, typeTimeoutNow, typeHello, typeAnnounce,
		typeAnnounce | answer, typeAppend | answer, typeVote | answer, typePreVote | answer, typeTimeoutNow | answer, typeInstall | answer:
		return maxRPCPayload, true
	}
	return 0, false
}

// ErrFrameTooLarge means that a frame, sent or received, exceeds the limit of its type.
var ErrFrameTooLarge = errors.New("peer: frame larger than its type may be")

// frame is a frame that was read. If owned is false, payload is part of the reader's
// buffer and valid only until the next frame is read.
type frame struct {
	typ     frameType
	shard   uint32
	request uint64
	payload []byte
	owned   bool
}

// appendHead writes the length and the head of a frame with so many bytes of payload.
func appendHead(b []byte, typ frameType, shard uint32, request uint64, payload int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headSize+payload))
	b = append(b, byte(typ))
	b = binary.BigEndian.AppendUint32(b, shard)
	return binary.BigEndian.AppendUint64(b, request)
}

// readBuffer is the number of bytes that a connection reads at once, at most.
const readBuffer = 64 << 10

// frameReader cuts a stream into frames. It is for one goroutine.
type frameReader struct {
	src  io.Reader
	buf  []byte // buf[r:w] has arrived and was not yet returned
	r, w int
}

func newFrameReader(src io.Reader) *frameReader {
	return &frameReader{src: src, buf: make([]byte, readBuffer)}
}

// next returns the next frame. It fails with io.EOF if the stream ends between two
// frames, with io.ErrUnexpectedEOF if it ends inside one, and with ErrMalformed or
// ErrFrameTooLarge on bytes that are no frame. After a failure the stream is of no
// further use.
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

// fill reads until the buffer holds n bytes, which must fit it. It takes more bytes if
// they arrive together.
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

// large reads a payload of n bytes that does not fit the buffer. It never allocates
// more than twice the bytes that have arrived. The result has a capacity of exactly n,
// because the Raft log keeps slices of it.
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

// putLength writes n as the length of the frame that begins at b.
func putLength(b []byte, n int) { binary.BigEndian.PutUint32(b, uint32(n)) }
