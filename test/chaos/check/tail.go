package check

import "hash/maphash"

// Tail is a client that reads a stream from its start towards its end, a few entries at a
// time. In the end it must have seen every entry up to its last one that a replica holds.
// One goroutine uses it.
type Tail struct {
	s    *Stream
	last ID     // the last entry that was read
	seen int    // number of entries that were read
	sum  uint64 // checksum of these entries, in order
}

var tailSeed = maphash.MakeSeed()

// step returns the checksum of a sequence of entries from the one without its last entry.
func step(sum uint64, id ID, payload string) uint64 {
	return maphash.Comparable(tailSeed, struct {
		sum     uint64
		id      ID
		payload string
	}{sum, id, payload})
}

// NewTail returns a reader of s. No entry of s may ever be deleted.
func (s *Stream) NewTail() *Tail {
	t := &Tail{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tails = append(s.tails, t)
	return t
}

// Last returns the ID of the last entry that t has read; zero at the start.
func (t *Tail) Last() ID { return t.last }

// Read records the items that a read after Last returned. The read began when Floor
// returned floor. end means that it reached the end: it returned fewer entries than it
// asked for.
func (t *Tail) Read(items []Item, end bool, floor ID) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	for _, it := range items {
		if !t.last.Less(it.ID) {
			t.s.book.Add("S6", "%s: a read after %v returned %v", t.s.Name, t.last, it.ID)
		}
		t.s.see("a read", it.ID, it.Payload)
		t.last = it.ID
		t.seen++
		t.sum = step(t.sum, it.ID, it.Payload)
	}
	if end && t.last.Less(floor) {
		t.s.book.Add("S6", "%s: a read found the end at %v, though %v was acknowledged before it began", t.s.Name, t.last, floor)
	}
}

// Item is an entry that a server returned.
type Item struct {
	ID      ID
	Payload string // the first value
	Filler  string // the second value
}
