package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A snapshot travels from one replica to another as a header and then files. The files
// are Pebble tables, which hold all keys of the shard, in order.
//
//	 0        4        5       9       11     13        21     29        37
//	+--------+--------+-------+-------+------+---------+------+---------+--------+---------+-------+---------+
//	| magic  | format | shard | first | last | applied | term | clockMS | nfiles | files … | crc32 | content |
//	| "MRSN" | u8 = 1 | u32   | slot  | slot | u64     | u64  | i64     | u32    |         | u32   | …       |
//	+--------+--------+-------+-------+------+---------+------+---------+--------+---------+-------+---------+
//
//	a file:  size u64 | SHA-256, 32 B
//
// crc32 is Castagnoli's, over everything before it. applied, term and clockMS are the
// state's position. applied may be above the index under which Raft sends the snapshot,
// because the files are made when they are needed. The receiver skips records up to it.
const (
	snapMagic    = "MRSN"
	snapFormat   = 1
	snapFixedLen = 41
	snapFileLen  = 8 + sha256.Size
	// maxSnapFiles bounds the memory that a header can make a receiver allocate.
	maxSnapFiles = 1 << 16
)

// ErrSnapshot is returned for a snapshot that is damaged, cut short, of another shard,
// or of a format this version does not know.
var ErrSnapshot = errors.New("shard: bad snapshot")

type snapFile struct {
	size uint64
	sum  [sha256.Size]byte
}

type snapHeader struct {
	shard               uint32
	firstSlot, lastSlot uint16
	applied             applied
	files               []snapFile
}

func (h *snapHeader) len() int { return snapFixedLen + len(h.files)*snapFileLen + 4 }

// contentBytes returns the size of all files.
func (h *snapHeader) contentBytes() int64 {
	var n int64
	for _, f := range h.files {
		n += int64(f.size)
	}
	return n
}

func (h *snapHeader) encode() []byte {
	b := append(make([]byte, 0, h.len()), snapMagic...)
	b = append(b, snapFormat)
	b = binary.BigEndian.AppendUint32(b, h.shard)
	b = binary.BigEndian.AppendUint16(b, h.firstSlot)
	b = binary.BigEndian.AppendUint16(b, h.lastSlot)
	b = binary.BigEndian.AppendUint64(b, h.applied.index)
	b = binary.BigEndian.AppendUint64(b, h.applied.term)
	b = binary.BigEndian.AppendUint64(b, uint64(h.applied.clockMS))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.files)))
	for _, f := range h.files {
		b = binary.BigEndian.AppendUint64(b, f.size)
		b = append(b, f.sum[:]...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// snapHeaderLen returns the length of the header that starts with b, or 0 when b is too
// short to tell.
func snapHeaderLen(b []byte) (int, error) {
	if len(b) < snapFixedLen {
		return 0, nil
	}
	if string(b[:4]) != snapMagic {
		return 0, fmt.Errorf("%w: it begins with %x", ErrSnapshot, b[:4])
	}
	if b[4] != snapFormat {
		return 0, fmt.Errorf("%w: format %d, this version knows %d", ErrSnapshot, b[4], snapFormat)
	}
	n := binary.BigEndian.Uint32(b[37:])
	if n > maxSnapFiles {
		return 0, fmt.Errorf("%w: %d files", ErrSnapshot, n)
	}
	return snapFixedLen + int(n)*snapFileLen + 4, nil
}

// decodeSnapHeader reads a header of exactly the length snapHeaderLen tells.
func decodeSnapHeader(b []byte) (snapHeader, error) {
	n, err := snapHeaderLen(b)
	if err != nil {
		return snapHeader{}, err
	}
	if n != len(b) || n == 0 {
		return snapHeader{}, fmt.Errorf("%w: header of %d bytes", ErrSnapshot, len(b))
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[end:]) {
		return snapHeader{}, fmt.Errorf("%w: checksum of its header", ErrSnapshot)
	}
	h := snapHeader{
		shard:     binary.BigEndian.Uint32(b[5:]),
		firstSlot: binary.BigEndian.Uint16(b[9:]),
		lastSlot:  binary.BigEndian.Uint16(b[11:]),
		applied: applied{
			index:   binary.BigEndian.Uint64(b[13:]),
			term:    binary.BigEndian.Uint64(b[21:]),
			clockMS: int64(binary.BigEndian.Uint64(b[29:])),
		},
	}
	var total uint64
	for b = b[snapFixedLen:end]; len(b) > 0; b = b[snapFileLen:] {
		f := snapFile{size: binary.BigEndian.Uint64(b)}
		copy(f.sum[:], b[8:])
		if f.size == 0 || f.size > math.MaxInt64-total {
			return snapHeader{}, fmt.Errorf("%w: file of %d bytes", ErrSnapshot, f.size)
		}
		total += f.size
		h.files = append(h.files, f)
	}
	return h, nil
}

// String describes h on one line, for logs and errors.
func (h *snapHeader) String() string {
	return fmt.Sprintf("shard=%d slots=%d-%d applied=%d term=%d clock=%d files=%d bytes=%d",
		h.shard, h.firstSlot, h.lastSlot, h.applied.index, h.applied.term, h.applied.clockMS, len(h.files), h.contentBytes())
}
