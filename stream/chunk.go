package stream

import (
	"encoding/binary"
	"millrace/command"
)

// chunk describes a run of entries. Redis keeps the entries of a stream in listpacks, which
// it calls nodes. A listpack has up to stream-node-max-entries entries or
// stream-node-max-bytes bytes, and trimming with "~" removes whole listpacks only. Chunks
// divide a stream at the same entries, so that "~" removes the same entries as in Redis and
// XINFO answers the same.
//
// The last chunk is in the head, because it changes with every XADD. Each other chunk is a
// record under the ID of its first entry. Every chunk has a live entry, with one exception:
// when XTRIM MINID deletes the last live entries of a stream, but greater IDs of their chunk
// were deleted before, Redis keeps the empty listpack for new entries. Then an empty stream
// has one chunk without live entries; see Head.deadTail.
//
//	+---------+------+---------------+--------------+---------------+--------+
//	| version | last | total uvarint | live uvarint | bytes uvarint | fields |
//	| u8 = 1  | 16   |               |              |               | u64    |
//	+---------+------+---------------+--------------+---------------+--------+
type chunk struct {
	First  ID     // ID of the first entry ever put into it; the chunk's key
	Last   ID     // ID of the last entry ever put into it
	Total  uint64 // entries ever put into it
	Live   uint64 // entries that are not deleted
	Bytes  uint64 // size of Redis's listpack, which decides when the chunk is full
	Fields uint64 // hash of its first entry's field names, which Redis stores only once
}

const chunkVersion = 1

// Redis's defaults of stream-node-max-entries and stream-node-max-bytes, and the size above
// which it begins a new listpack whatever the settings.
const (
	defaultChunkMaxEntries = 100
	defaultChunkMaxBytes   = 4096
	listpackMaxBytes       = 1 << 30
)

func (c *chunk) append(dst []byte) []byte {
	dst = c.Last.appendBytes(append(dst, chunkVersion))
	dst = binary.AppendUvarint(dst, c.Total)
	dst = binary.AppendUvarint(dst, c.Live)
	dst = binary.AppendUvarint(dst, c.Bytes)
	return binary.BigEndian.AppendUint64(dst, c.Fields)
}

// readChunk reads what append wrote.
func readChunk(first ID, r *recordReader) chunk {
	if r.u8() != chunkVersion {
		r.bad = true
	}
	return chunk{First: first, Last: r.id(), Total: r.uvarint(), Live: r.uvarint(), Bytes: r.uvarint(), Fields: r.u64()}
}

func decodeChunk(first ID, b []byte) (chunk, error) {
	r := recordReader{b: b}
	c := readChunk(first, &r)
	return c, r.err("chunk "+first.String(), nil)
}

// full reports whether an entry whose fields and values have size bytes needs a new chunk.
// The rule is Redis's: streamAppendItem in redis src/t_stream.c.
func (c *chunk) full(size, maxEntries, maxBytes uint64) bool {
	if maxBytes == 0 || maxBytes > listpackMaxBytes {
		maxBytes = listpackMaxBytes
	}
	return c.Bytes+size >= maxBytes || maxEntries > 0 && c.Total >= maxEntries
}

// begin makes c a new chunk with one entry.
func (c *chunk) begin(id ID, words [][]byte, fields uint64) {
	*c = chunk{First: id, Last: id, Total: 1, Live: 1, Fields: fields}
	c.Bytes = listpackEmpty + listpackInt(1) + listpackInt(0) + listpackInt(int64(len(words)/2)) + listpackInt(0)
	for i := 0; i < len(words); i += 2 {
		c.Bytes += listpackString(words[i])
	}
	c.Bytes += entryListpackBytes(c.First, id, words, true)
}

// add appends an entry to c.
func (c *chunk) add(id ID, words [][]byte, fields uint64) {
	c.Bytes += entryListpackBytes(c.First, id, words, fields == c.Fields)
	c.Bytes += listpackInt(int64(c.Live+1)) - listpackInt(int64(c.Live))
	c.Last = id
	c.Total++
	c.Live++
}

// drop counts count more entries of c as deleted.
func (c *chunk) drop(count uint64) {
	live, dead := c.Live-count, c.Total-c.Live+count
	c.Bytes += listpackInt(int64(live)) - listpackInt(int64(c.Live))
	c.Bytes += listpackInt(int64(dead)) - listpackInt(int64(c.Total-c.Live))
	c.Live = live
}

// listpackEmpty is the size of a listpack without elements: header and end.
const listpackEmpty = 7

// entryListpackBytes returns the number of bytes that an entry adds to the listpack of a
// chunk. The entry is stored as flags, the two differences to the chunk's ID, the number of
// fields and the fields (unless the chunk's first entry has the same), the values, and the
// number of elements.
func entryListpackBytes(first, id ID, words [][]byte, sameFields bool) uint64 {
	pairs := int64(len(words) / 2)
	size := listpackInt(0) + listpackInt(int64(id.MS-first.MS)) + listpackInt(int64(id.Seq-first.Seq))
	count := pairs + 3
	if !sameFields {
		size += listpackInt(pairs)
		count += pairs + 1
	}
	for i, w := range words {
		if i%2 == 1 || !sameFields {
			size += listpackString(w)
		}
	}
	return size + listpackInt(count)
}

// listpackInt returns the size of an integer element with its backward length.
func listpackInt(v int64) uint64 {
	switch {
	case 0 <= v && v <= 127:
		return 1 + 1
	case -4096 <= v && v <= 4095:
		return 2 + 1
	case -1<<15 <= v && v < 1<<15:
		return 3 + 1
	case -1<<23 <= v && v < 1<<23:
		return 4 + 1
	case -1<<31 <= v && v < 1<<31:
		return 5 + 1
	}
	return 9 + 1
}

// listpackString returns the size of a string element with its backward length. A string
// that is the text of an integer is stored as an integer.
func listpackString(s []byte) uint64 {
	if v, ok := command.ParseInt(s); ok {
		return listpackInt(v)
	}
	n := uint64(len(s))
	switch {
	case n < 64:
		n += 1
	case n < 4096:
		n += 2
	default:
		n += 5
	}
	switch {
	case n <= 127:
		return n + 1
	case n < 16383:
		return n + 2
	case n < 2097151:
		return n + 3
	case n < 268435455:
		return n + 4
	}
	return n + 5
}

// hashFields returns FNV-1a over the number of fields and each field name with its length.
// A chunk keeps the hash instead of the names. A collision would only make the size of a
// chunk differ from Redis's, and in the same way on every replica.
func hashFields(words [][]byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := (offset ^ uint64(len(words)/2)) * prime
	for i := 0; i < len(words); i += 2 {
		h = (h ^ uint64(len(words[i]))) * prime
		for _, b := range words[i] {
			h = (h ^ uint64(b)) * prime
		}
	}
	return h
}
