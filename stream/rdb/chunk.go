package rdb

// A chunk is a run of entries in one listpack. Its key is the ID of the first entry ever
// put into it. The IDs of the entries are relative to the key.
//
//	live, dead, n, n field names, 0          the first entry's fields
//	flags, ms, seq, values …, size           an entry that has the same fields
//	flags, ms, seq, n, field, value …, size  any other
//
// live and dead are the numbers of entries that are not deleted and that are. n is a number
// of fields. ms and seq are differences to the key. size is the number of elements of the
// entry, without size itself. A deleted entry stays in the listpack, with a flag.
const (
	flagDeleted    = 1
	flagSameFields = 2
)

// Chunk is a run of entries.
type Chunk struct {
	ID      ID       // its key; no entry has a lower ID
	Last    ID       // greatest ID of its entries, deleted ones included, but not above the stream's last ID
	Deleted uint64   // number of deleted entries
	Fields  [][]byte // of the first entry ever put into it
	Entries []Entry  // the entries that are not deleted, at least one, in the order of their IDs
	Bytes   int      // size of the listpack
}

// Entry is an entry of a stream.
type Entry struct {
	ID    ID
	Words [][]byte // fields and their values in turn
}

// chunk reads a chunk, whose key must be above after.
func (r *reader) chunk(after ID) Chunk {
	key := r.string()
	if len(key) != 16 && r.err == nil {
		r.fail("chunk under a key of %d bytes", len(key))
	}
	raw := r.string()
	if r.err != nil {
		return Chunk{}
	}
	c := Chunk{ID: idFromBytes(key), Bytes: len(raw)}
	if !after.less(c.ID) {
		r.fail("chunk %v is not after %v", c.ID, after)
		return c
	}
	l, err := openListpack(raw)
	if err != nil {
		r.stop(err)
		return c
	}
	live, dead := l.count(), l.count()
	c.Fields = r.words(&l, l.count(), nil)
	if l.integer() != 0 {
		l.fail("the fields of a chunk do not end with 0")
	}
	for r.err == nil && l.err == nil && len(l.b) > 0 {
		r.entry(&l, &c)
	}
	r.stop(l.close(raw))
	if live != uint64(len(c.Entries)) || dead != c.Deleted || live+dead == 0 {
		r.fail("chunk counts %d and %d deleted entries, and has %d and %d", live, dead, len(c.Entries), c.Deleted)
	}
	r.stop(r.budget.Chunk())
	return c
}

// words reads n words. When fields is not nil, each word is a value, and words puts its
// field before it. The budget is charged for the fields before anything is allocated,
// because a payload holds them only once for any number of entries.
func (r *reader) words(l *listpack, n uint64, fields [][]byte) [][]byte {
	if n > uint64(len(l.b))/2 {
		l.fail("%d words in %d bytes", n, len(l.b))
		return nil
	}
	count, size := int(n), 0
	if fields != nil {
		count = 2 * int(n)
	}
	for _, f := range fields {
		size += len(f)
	}
	left := len(l.b)
	if r.stop(r.budget.Entry(count, size)); r.err != nil {
		return nil
	}
	words := make([][]byte, 0, count)
	for i := range n {
		if fields != nil {
			words = append(words, fields[i])
		}
		words = append(words, l.next().text())
	}
	r.stop(r.budget.Bytes(left - len(l.b)))
	return words
}

// entry reads one entry into c, or counts it there when it is deleted.
func (r *reader) entry(l *listpack, c *Chunk) {
	first := l.read
	flags := l.integer()
	if flags&^(flagDeleted|flagSameFields) != 0 {
		l.fail("entry with flags %#x", flags)
	}
	id := ID{MS: c.ID.MS + uint64(l.integer()), Seq: c.ID.Seq + uint64(l.integer())}
	var words [][]byte
	if flags&flagSameFields != 0 {
		words = r.words(l, uint64(len(c.Fields)), c.Fields)
	} else if pairs := l.count(); pairs > uint64(len(l.b)) {
		l.fail("entry with %d fields in %d bytes", pairs, len(l.b))
	} else {
		words = r.words(l, 2*pairs, nil)
	}
	if size := l.read - first; l.integer() != int64(size) || len(words) == 0 {
		l.fail("entry %v of %d words in %d elements ends with another number", id, len(words), size)
	}
	if id.less(c.ID) {
		l.fail("entry %v is before its chunk, %v", id, c.ID)
	}
	if flags&flagDeleted != 0 {
		// Before Redis 7.0, entries after a deleted one could have lower IDs.
		c.Deleted++
		if c.Last.less(id) {
			c.Last = id
		}
		return
	}
	if len(c.Entries) > 0 && !c.end().less(id) {
		l.fail("entry %v is not after %v", id, c.end())
	}
	if c.Last.less(id) {
		c.Last = id
	}
	c.Entries = append(c.Entries, Entry{ID: id, Words: words})
}

// end returns the ID of the last entry.
func (c *Chunk) end() ID { return c.Entries[len(c.Entries)-1].ID }

// appendChunk appends a chunk without its deleted entries.
func appendChunk(dst []byte, c *Chunk) []byte {
	var key [16]byte
	dst = appendString(dst, appendRawID(key[:0], c.ID))
	w := beginListpack(nil)
	w.integer(int64(len(c.Entries)))
	w.integer(0)
	master := c.Entries[0].Words
	w.integer(int64(len(master) / 2))
	for i := 0; i < len(master); i += 2 {
		w.string(master[i])
	}
	w.integer(0)
	for i := range c.Entries {
		w.entry(c.ID, master, &c.Entries[i])
	}
	return appendString(dst, w.finish())
}

// entry appends an entry of the chunk with this key. master holds the words of the chunk's
// first entry.
func (w *listpackWriter) entry(key ID, master [][]byte, e *Entry) {
	first, same := w.count, sameFields(master, e.Words)
	flags := int64(0)
	if same {
		flags = flagSameFields
	}
	w.integer(flags)
	w.integer(int64(e.ID.MS - key.MS))
	w.integer(int64(e.ID.Seq - key.Seq))
	if !same {
		w.integer(int64(len(e.Words) / 2))
	}
	for i, word := range e.Words {
		if i%2 == 1 || !same {
			w.string(word)
		}
	}
	w.integer(int64(w.count - first))
}

// sameFields reports whether two entries have the same field names in the same order.
func sameFields(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i += 2 {
		if string(a[i]) != string(b[i]) {
			return false
		}
	}
	return true
}
