package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble reads its manifest up to the first record that is not whole, and takes what
// follows for the torn end that a crash leaves. So one flipped bit in the middle makes
// it forget tables, whose files it then deletes. But Pebble syncs the manifest after
// each record: what a crash tears is the last one, and no record follows it.

// The form of a manifest: blocks, and in each chunks. A record is one full chunk, or a
// first, some middle and a last one. The rest of a block, too short for a head, is zero.
//
//	 0      4     6     7        7+n
//	+------+-----+------+---------+
//	| crc  | n   | type | payload |   crc is of type and payload, masked
//	| u32  | u16 | u8   | n B     |   integers are little-endian
//	+------+-----+------+---------+
const (
	manifestBlock = 32 << 10
	chunkHead     = 7
	chunkFull     = 1
	chunkFirst    = 2
	chunkLast     = 4
)

// maxManifest bounds the manifest that is read at once; Pebble begins another at 128 MiB.
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
		// Later chunks of the torn record itself may have reached the disk.
		if kind, n := chunkAt(b, at); n > 0 && (kind == chunkFull || kind == chunkFirst) {
			return fmt.Errorf("%w: manifest %s: damaged at byte %d, and a record follows at byte %d", ErrCorrupt, path, bad, at)
		}
	}
	return nil
}

// firstBadChunk returns where the chunks of b end to be whole; len(b) if all are.
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

// chunkAt returns the type and the size, head included, of the whole chunk at b[at:];
// 0 and 0 when there is none.
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

// maskedCRC is the checksum of LevelDB's log format, which Pebble keeps.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}
