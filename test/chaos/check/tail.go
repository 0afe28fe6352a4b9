package check

import "hash/maphash"

// Tail reads a stream from its start to its end, bit by bit. One goroutine uses it. It
// must have seen all that a replica holds in the end, up to where it came: no gap.
type Tail struct {
	s    *Stream
	last ID
	seen int
	sum  uint64
}

var tailSeed = maphash.MakeSeed()

// step makes the next sum of a sequence of entries.
func step(sum uint64, id ID, payload string) uint64 {
	return maphash.Comparable(tailSeed, struct {
		sum     uint64
		id      ID
		payload string
	}{sum, id, payload})
}

// NewTail returns a reader of s, from which nothing must ever be deleted.
func (s *Stream) NewTail() *Tail {
	t := &Tail{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tails = append(s.tails, t)
	return t
}

// Last returns how far t has come.
func (t *Tail) Last() ID { return t.last }

// Read takes what a read after Last has answered. end says that it could have answered
// more; it began when Floor returned floor.
func (t *Tail) Read(items []Item, end bool, floor ID) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	for _, it := range items {
		if !t.last.Less(it.ID) {
			t.s.book.Add("S6", "%s: a read after %v answered %v", t.s.Name, t.last, it.ID)
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

// Item is an entry that a server has shown.
type Item struct {
	ID      ID
	Payload string
	Filler  string
}
