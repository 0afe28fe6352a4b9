package rdb

// Budget bounds what a value may come to, in bytes: what it takes in memory once it is
// decoded, and what the records take that it becomes. A payload may be a small part of
// that: it is compressed, names its fields once for many entries, and does not have
// the keys of the records.
type Budget struct {
	Left   int // bytes
	Record int // bytes that each record has beside what is counted as the value's: its key
}

// What parts of a value take in memory beside their bytes, about.
const (
	entryBytes   = 64
	wordBytes    = 24
	partBytes    = 256 // group, consumer or producer
	pendingBytes = 96
	iidBytes     = 128
)

// Bytes counts n bytes, and returns ErrTooLarge where fewer are left.
func (b *Budget) Bytes(n int) error { return b.take(0, n) }

// Chunk counts a run of entries, without these.
func (b *Budget) Chunk() error { return b.take(1, entryBytes) }

// Entry counts an entry of so many words that have so many bytes.
func (b *Budget) Entry(words, bytes int) error { return b.take(1, entryBytes+words*wordBytes+bytes) }

// Group counts a consumer group, without what is in it.
func (b *Budget) Group(name []byte) error { return b.take(1, partBytes+len(name)) }

// Consumer counts a consumer: its record, and the number under its name.
func (b *Budget) Consumer(name []byte) error { return b.take(2, partBytes+2*len(name)) }

// Pending counts a pending entry, which is a record and a key in two indexes.
func (b *Budget) Pending() error { return b.take(3, pendingBytes) }

// Producer counts an idempotent producer, without its IDs.
func (b *Budget) Producer(name []byte) error { return b.take(1, partBytes+len(name)) }

// IID counts an idempotent ID, which is three records that name it.
func (b *Budget) IID(producer, iid []byte) error {
	return b.take(3, iidBytes+3*(len(producer)+len(iid)))
}

func (b *Budget) take(records, bytes int) error {
	bytes += records * b.Record
	if bytes > b.Left {
		b.Left = 0
		return ErrTooLarge
	}
	b.Left -= bytes
	return nil
}
