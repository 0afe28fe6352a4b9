package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble reads its manifest up to the first damaged record, and ignores the rest as the
// torn end that a crash leaves. So after one flipped bit in the middle, it forgets the
// tables of all later records, and deletes their files. But a crash can only tear the
// last record, because Pebble syncs the manifest after each one. A record after a damaged
// one therefore proves corruption.

// A manifest consists of blocks of 32 KiB, and a block of chunks. A record is one full
// chunk, or a first, some middle and a last one. When the rest of a block is shorter than
// a head, it is zero.
//
//	 0      4     6     7        7+n
//	+------+-----+------+---------+
//	| crc  | n   | type | payload |   crc covers type and payload, and is masked
//	| u32  | u16 | u8   | n B     |   integers are little-endian
//	+------+-----+------+---------+
const (
	manifestBlock = 32 << 10
	chunkHead     = 7
	chunkFull     = 1
	chunkFirst    = 2
	chunkLast     = 4
)

// maxManifest bounds the bytes of the manifest that are read. Pebble begins a new
// manifest at 128 MiB.
const maxManifest = 1 << 30

// checkManifest returns ErrCorrupt when a record follows one that is damaged.
func checkManifest(fs vfs.FS, path string) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return err
	}
	bad := firstBadChunk(b)
	for at := bad + 1; at+chunkHead <= len(b); at++ {
		// Middle and last chunks prove nothing, because later chunks of the torn record
		// itself may have reached the disk.
		if kind, n := chunkAt(b, at); n > 0 && (kind == chunkFull || kind == chunkFirst) {
			return fmt.Errorf("%w: manifest %s: damaged at byte %d, and a record follows at byte %d", ErrCorrupt, path, bad, at)
		}
	}
	return nil
}

// firstBadChunk returns the position of the first damaged chunk in b, or len(b) when all
// are intact.
func firstBadChunk(b []byte) int {
	at := 0
	for at < len(b) {
		if manifestBlock-at%manifestBlock < chunkHead {
			at += manifestBlock - at%manifestBlock
			continue
		}
		_, n := chunkAt(b, at)
		if n == 0 {
			return at
		}
		at += n
	}
	return len(b)
}

// chunkAt returns the type of the chunk at b[at:] and its size with the head, or 0 and 0
// when there is no intact chunk.
func chunkAt(b []byte, at int) (kind byte, size int) {
	room := min(len(b)-at, manifestBlock-at%manifestBlock)
	if room < chunkHead {
		return 0, 0
	}
	n := int(binary.LittleEndian.Uint16(b[at+4:]))
	kind = b[at+6]
	if kind < chunkFull || kind > chunkLast || chunkHead+n > room {
		return 0, 0
	}
	if binary.LittleEndian.Uint32(b[at:]) != maskedCRC(b[at+6:at+chunkHead+n]) {
		return 0, 0
	}
	return kind, chunkHead + n
}

// maskedCRC returns the checksum of LevelDB's log format, which Pebble uses as well.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}
