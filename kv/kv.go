package kv

// Reader is an ordered key space as it was at one moment: a view, or a batch that
// is read through. It is used by one goroutine at a time.
type Reader interface {
	// Get returns a copy of the value at key, and whether there is one.
	Get(key []byte) (value []byte, ok bool, err error)
	// Iter returns an iterator over the keys in [lo, hi), which it does not keep. It does
	// not see what is written after it was made. The caller closes it.
	Iter(lo, hi []byte) (Iterator, error)
}

// Iterator walks a range of keys in byte order. Key and Value are valid until the
// next move. When a move returns false, Error tells an end from a failure.
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

// Batch is a Reader that sees its own writes, and is committed as one by its owner.
// Keys and values are copied before a call returns.
type Batch interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes the keys in [lo, hi).
	DeleteRange(lo, hi []byte) error
}
