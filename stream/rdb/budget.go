package rdb

// Budget bounds the size of a decoded value, in bytes. It counts the memory of the value
// and the keys of the records that the value becomes. A payload may be far smaller: it may
// be compressed, it names a field once for many entries, and it does not have these keys.
type Budget struct {
	Left   int // bytes that may still be used
	Record int // bytes to count for each record, in addition to the value: the start of its key
}

// The approximate memory of the parts of a value, in addition to their bytes.
const (
	entryBytes   = 64
	wordBytes    = 24
	partBytes    = 256 // of a group, a consumer or a producer
	pendingBytes = 96
	iidBytes     = 128
)

// Bytes counts n bytes. It returns ErrTooLarge when fewer are left, as all methods do.
func (b *Budget) Bytes(n int) error { return b.take(0, n) }

// Chunk counts a chunk without its entries.
func (b *Budget) Chunk() error { return b.take(1, entryBytes) }

// Entry counts an entry. bytes is the number of bytes of all its words.
func (b *Budget) Entry(words, bytes int) error { return b.take(1, entryBytes+words*wordBytes+bytes) }

// Group counts a consumer group without its consumers and pending entries.
func (b *Budget) Group(name []byte) error { return b.take(1, partBytes+len(name)) }

// Consumer counts a consumer, which has two records that hold its name.
func (b *Budget) Consumer(name []byte) error { return b.take(2, partBytes+2*len(name)) }

// Pending counts a pending entry, which has a record and two index keys.
func (b *Budget) Pending() error { return b.take(3, pendingBytes) }

// Producer counts an idempotent producer without its idempotent IDs.
func (b *Budget) Producer(name []byte) error { return b.take(1, partBytes+len(name)) }

// IID counts an idempotent ID, which has three records that hold it.
func (b *Budget) IID(producer, iid []byte) error {
	return b.take(3, iidBytes+3*(len(producer)+len(iid)))
}

// Element counts a field of a hash or a member of a sorted set, which has two keys.
func (b *Budget) Element(name []byte, valueBytes int) error {
	return b.take(2, entryBytes+2*len(name)+valueBytes)
}

// take counts records and bytes. After it failed, nothing is left.
func (b *Budget) take(records, bytes int) error {
	bytes += records * b.Record
	if bytes > b.Left {
		b.Left = 0
		return ErrTooLarge
	}
	b.Left -= bytes
	return nil
}
