package stream

import (
	"encoding/binary"
	"millrace/command"
)

// chunk describes a run of entries. Redis keeps a stream's entries in listpacks, each
// one key of a radix tree, of up to stream-node-max-entries entries or
// stream-node-max-bytes bytes, and trimming with "~" removes whole chunks only. The runs
// are kept alike here, so that it removes the same entries as in Redis, and XINFO says
// the same.
//
// All chunks but the last are records of their own, under the ID of their first entry;
// the last is in the head. A chunk without live entries does not exist, but for the only
// one of an empty stream: where a trim by minimal ID deletes the last live entries of a
// chunk, and greater ones of it were deleted before, Redis keeps it for what comes.
//
//	+---------+------+---------------+--------------+---------------+--------+
//	| version | last | total uvarint | live uvarint | bytes uvarint | fields |
//	| u8 = 1  | 16   |               |              |               | u64    |
//	+---------+------+---------------+--------------+---------------+--------+
type chunk struct {
	First  ID     // ID the chunk was made with; the chunk's key
	Last   ID     // ID of the last entry put into it, deleted or not
	Total  uint64 // entries ever put into it
	Live   uint64 // entries not deleted; zero: there is no such chunk, or see above
	Bytes  uint64 // size of Redis's listpack, which decides when the chunk is full
	Fields uint64 // hash of the field names of its first entry, which Redis stores once
}

const chunkVersion = 1

// Redis's defaults of stream-node-max-entries and stream-node-max-bytes, and the size
// above which it makes a new chunk whatever the settings.
const (
	defaultChunkMaxEntries = 100
	defaultChunkMaxBytes   = 4096
	listpackMaxBytes       = 1 << 30
)

func (n *chunk) append(dst []byte) []byte {
	dst = n.Last.appendBytes(append(dst, chunkVersion))
	dst = binary.AppendUvarint(dst, n.Total)
	dst = binary.AppendUvarint(dst, n.Live)
	dst = binary.AppendUvarint(dst, n.Bytes)
	return binary.BigEndian.AppendUint64(dst, n.Fields)
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
	n := readChunk(first, &r)
	return n, r.err("chunk "+first.String(), nil)
}

// full reports whether an entry of size bytes of fields and values needs a new chunk.
// The rule is streamAppendItem's.
func (n *chunk) full(size, maxEntries, maxBytes uint64) bool {
	if maxBytes == 0 || maxBytes > listpackMaxBytes {
		maxBytes = listpackMaxBytes
	}
	return n.Bytes+size >= maxBytes || maxEntries > 0 && n.Total >= maxEntries
}

// begin makes n the chunk of its first entry.
func (n *chunk) begin(id ID, words [][]byte, fields uint64) {
	*n = chunk{First: id, Last: id, Total: 1, Live: 1, Fields: fields}
	n.Bytes = listpackEmpty + listpackInt(1) + listpackInt(0) + listpackInt(int64(len(words)/2)) + listpackInt(0)
	for i := 0; i < len(words); i += 2 {
		n.Bytes += listpackString(words[i])
	}
	n.Bytes += entryListpackBytes(n.First, id, words, true)
}

// add appends an entry to n.
func (n *chunk) add(id ID, words [][]byte, fields uint64) {
	n.Bytes += entryListpackBytes(n.First, id, words, fields == n.Fields)
	n.Bytes += listpackInt(int64(n.Live+1)) - listpackInt(int64(n.Live))
	n.Last = id
	n.Total++
	n.Live++
}

// drop marks count entries of n as deleted.
func (n *chunk) drop(count uint64) {
	live, dead := n.Live-count, n.Total-n.Live+count
	n.Bytes += listpackInt(int64(live)) - listpackInt(int64(n.Live))
	n.Bytes += listpackInt(int64(dead)) - listpackInt(int64(n.Total-n.Live))
	n.Live = live
}

// listpackEmpty is the size of a listpack without elements: header and end.
const listpackEmpty = 7

// entryListpackBytes is what an entry adds to a chunk's listpack: flags, the
// differences to the chunk's ID, the number of fields and the fields unless they are
// those of the chunk's first entry, the values, and the number of elements.
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

// listpackInt is the size of an integer element with its backward length.
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

// listpackString is the size of a string element with its backward length. A string
// that is an integer is stored as one.
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

// hashFields is FNV-1a over the number of fields and each field name with its length.
// It stands for the names themselves: two lists of one hash would only make a chunk's
// size differ from Redis's, in the same way on every replica.
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
