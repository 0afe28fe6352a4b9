package check

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Book is what the clients of a run know. Its methods are safe for concurrent use.
type Book struct {
	*Problems

	mu      sync.RWMutex
	streams map[uint32]*Stream // by number; those of ended eras are gone
	next    uint32
}

// NewBook returns an empty book.
func NewBook(p *Problems) *Book { return &Book{Problems: p, streams: map[uint32]*Stream{}} }

// StreamOptions say what clients do with a stream.
type StreamOptions struct {
	Shard  uint32
	Group  string // the group that reads it, from its start; empty: none
	MaxLen int    // every XADD trims to exactly so many entries; 0: it does not
}

// Stream is a stream that clients write to.
type Stream struct {
	Name string
	StreamOptions
	book   *Book
	number uint32

	mu      sync.Mutex
	entries []entry    // in the order they were begun
	byID    map[ID]int // where entries with a known ID are; of a stream with a group only
	floor   ID         // the greatest ID acknowledged
	acked   int        // entries acknowledged
	group   groupView
	drained ID // the group had nothing left up to there
	tails   []*Tail
}

// state is what is known of an entry.
type state uint8

const (
	sent    state = iota // no outcome yet
	acked                // the server has answered its ID
	refused              // certainly not done
	unknown              // done or not
	found                // unknown to its client, and seen since: then id says where
)

func (s state) String() string {
	return [...]string{"sent", "acknowledged", "refused", "unknown", "found"}[s]
}

// entry is an entry that was begun. Guarded by its stream's mu.
type entry struct {
	id    ID
	state state
	gone  bool // a delete of it may have been done
	twin  bool // it and the next one are of one transaction

	// What the group has done with it.
	handed     bool // to a consumer, for certain
	fresh      bool // by ">"
	nacked     bool // given back once, maybe; so it may have been handed out at once
	maybeAcked bool // an XACK had an unknown outcome
	finished   bool // an XACK was answered 1, at finishedAt
	fuzzy      bool // the count is not known
	count      int32
	handedAt   time.Duration // when the call began that handed it out last
	countedAt  time.Duration // when the last call ended that changed the count
	setAt      time.Duration // … and that set it
	finishedAt time.Duration
}

// groupView is what is known of a stream's group.
type groupView struct {
	position     ID // the greatest last-delivered-id read
	unknownCalls int32
	delivered    int
	finished     int
}

// NewStream adds a stream. Names must be unique in a run: a payload names its stream
// by number.
func (b *Book) NewStream(name string, o StreamOptions) *Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &Stream{Name: name, StreamOptions: o, book: b, number: b.next}
	if o.Group != "" {
		s.byID = map[ID]int{}
	}
	b.streams[b.next] = s
	b.next++
	return s
}

// Forget drops a stream that was checked for the last time.
func (b *Book) Forget(s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s.number)
}

// Ticket is an XADD that was begun.
type Ticket struct {
	Payload string
	pos     int
	floor   ID
}

// fillerBytes is how long the second value of an entry is: with the first, what people
// put into a stream.
const fillerBytes = 100

// Filler returns the second value of an entry, which follows from the first.
func Filler(payload string) string {
	return strings.Repeat(payload, fillerBytes/len(payload)+1)[:fillerBytes]
}

// Begin says that an XADD is about to be sent.
func (s *Stream) Begin() Ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin()
}

func (s *Stream) begin() Ticket {
	pos := len(s.entries)
	s.entries = append(s.entries, entry{})
	return Ticket{s.payload(pos), pos, s.floor}
}

// BeginTwins begins two XADDs of one transaction.
func (s *Stream) BeginTwins() (Ticket, Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.begin()
	s.entries[a.pos].twin = true
	return a, s.begin()
}

func (s *Stream) payload(pos int) string {
	return "e" + strconv.FormatUint(uint64(s.number), 36) + "." + strconv.Itoa(pos)
}

// position returns where the entry of a payload is, or false for what is none of s.
// The caller holds mu.
func (s *Stream) position(payload string) (int, bool) {
	num, pos, ok := strings.Cut(strings.TrimPrefix(payload, "e"), ".")
	n, err := strconv.ParseUint(num, 36, 32)
	i, err2 := strconv.Atoi(pos)
	return i, ok && err == nil && err2 == nil && uint32(n) == s.number && i >= 0 && i < len(s.entries) && s.payload(i) == payload
}

// Added says that an XADD was answered. prev is the ID that the same connection was
// answered before for this stream; it is set to id.
func (s *Stream) Added(t Ticket, id ID, prev *ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[t.pos]
	if !t.floor.Less(id) {
		s.book.Add("S3", "%s: %s was acknowledged as %v, not above %v that was acknowledged before it began", s.Name, t.Payload, id, t.floor)
	}
	if e.state == found && e.id != id {
		s.book.Add("S4", "%s: %s was acknowledged as %v, and seen as %v", s.Name, t.Payload, id, e.id)
	}
	if prev != nil {
		if !prev.Less(id) {
			s.book.Add("S8", "%s: %s was acknowledged as %v after %v on the same connection, which was sent before", s.Name, t.Payload, id, *prev)
		}
		*prev = id
	}
	if s.floor.Less(id) {
		s.floor = id
	}
	e.state = acked
	s.identify(t.pos, id)
	s.acked++
}

// identify notes the ID of an entry. The caller holds mu.
func (s *Stream) identify(pos int, id ID) {
	s.entries[pos].id = id
	if s.byID != nil {
		s.byID[id] = pos
	}
}

// Refused says that an XADD was certainly not done.
func (s *Stream) Refused(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[t.pos]
	if e.state == found {
		s.book.Add("S2", "%s: %s was refused, and is there as %v", s.Name, t.Payload, e.id)
	}
	e.state = refused
}

// Unknown says that nobody knows whether an XADD was done.
func (s *Stream) Unknown(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := &s.entries[t.pos]; e.state == sent {
		e.state = unknown
	}
}

// Floor returns the greatest ID acknowledged so far: a linearizable read that begins
// now sees it, unless it was deleted.
func (s *Stream) Floor() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor
}

// Last says that a read which began when Floor returned floor found the last entry to
// be id; the zero ID where there was none. Nothing is ever deleted from s.
func (s *Stream) Last(id, floor ID, how string) {
	if id.Less(floor) {
		s.book.Add("S6", "%s: %s answered %v as the last entry, though %v was acknowledged before it began", s.Name, how, id, floor)
	}
}

// Gone says that a delete of an entry is about to be sent.
func (s *Stream) Gone(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].gone = true
	}
}

// Acked returns how many entries were acknowledged.
func (s *Stream) Acked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Known returns the payload and ID of an entry that was acknowledged, by chance the one
// at or after the share at of the stream; false where there is none.
func (s *Stream) Known(at float64) (payload string, id ID, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := int(at * float64(len(s.entries))); i < len(s.entries); i++ {
		if e := &s.entries[i]; e.state == acked && !e.gone {
			return s.payload(i), e.id, true
		}
	}
	return "", ID{}, false
}

// see checks an entry that a server has shown against what is known of it. The caller
// holds mu. It returns nil for what was never sent.
func (s *Stream) see(where string, id ID, payload string) *entry {
	i, ok := s.position(payload)
	if !ok {
		s.book.Add("S2", "%s: %s shows %q as %v, which nobody has sent there", s.Name, where, payload, id)
		return nil
	}
	e := &s.entries[i]
	switch e.state {
	case refused:
		s.book.Add("S2", "%s: %s shows %s as %v, which was refused", s.Name, where, payload, id)
	case acked, found:
		if e.id != id {
			s.book.Add("S4", "%s: %s shows %s as %v, which was %s as %v", s.Name, where, payload, id, e.state, e.id)
		}
	case sent, unknown:
		e.state = found
		s.identify(i, id)
	}
	return e
}

// Counts says how many entries are in which state.
type Counts struct{ Acked, Unknown, Refused, Delivered, Finished int }

// Counts returns what is known of s.
func (s *Stream) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{Acked: s.acked, Delivered: s.group.delivered, Finished: s.group.finished}
	for i := range s.entries {
		switch s.entries[i].state {
		case unknown, found, sent:
			c.Unknown++
		case refused:
			c.Refused++
		}
	}
	return c
}

func (s *Stream) String() string { return fmt.Sprintf("%s (shard %d)", s.Name, s.Shard) }
