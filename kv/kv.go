package kv

// Reader reads an ordered key space. It is a view, which shows one moment, or a batch, which
// also shows its own writes. Only one goroutine at a time may use it.
type Reader interface {
	// Get returns a copy of the value at key, and whether there is one.
	Get(key []byte) (value []byte, ok bool, err error)
	// Iter returns an iterator over the keys in [lo, hi). It does not see later writes. The
	// caller may change lo and hi afterwards, and closes the iterator.
	Iter(lo, hi []byte) (Iterator, error)
}

// Iterator walks a range of keys in byte order. Key and Value are valid until the next
// move. When a move returns false, Error tells whether the range ended or a read failed.
type Iterator interface {
	First() bool
	Last() bool
	SeekGE(key []byte) bool
	SeekLT(key []byte) bool
	Next() bool
	Prev() bool
	Valid() bool
	Key() []byte
	Value() []byte
	Error() error
	Close() error
}

// Batch is a Reader that also collects writes and shows them. Its owner commits all writes
// at once. Each call copies its key and value.
type Batch interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes the keys in [lo, hi).
	DeleteRange(lo, hi []byte) error
	// Mark returns the present end of the writes, for Undo.
	Mark() Mark
	// Undo drops the writes that were made after Mark returned m. No iterator may be open.
	Undo(m Mark) error
}

// Mark is a place among the writes of a Batch.
type Mark struct {
	Bytes int    // of the writes before it, as the batch encodes them
	Count uint32 // of the writes before it
}
