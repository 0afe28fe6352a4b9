package check

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Book holds the streams of a run. Its methods are safe for concurrent use.
type Book struct {
	*Problems

	mu      sync.RWMutex       // guards the fields below
	streams map[uint32]*Stream // by number; Forget removes those of ended eras
	next    uint32             // number of the next stream
}

// NewBook returns an empty book.
func NewBook(p *Problems) *Book { return &Book{Problems: p, streams: map[uint32]*Stream{}} }

// StreamOptions describe how clients use a stream.
type StreamOptions struct {
	Shard  uint32
	Group  string // the group that reads the stream from its start; empty: none
	MaxLen int    // every XADD trims to exactly this many entries; 0: no XADD trims
}

// Stream is a stream that clients write to.
type Stream struct {
	Name string
	StreamOptions
	book   *Book
	number uint32

	mu      sync.Mutex // guards the fields below
	entries []entry    // in the order of Begin
	byID    map[ID]int // indexes of entries with a known ID; nil without a group
	floor   ID         // the greatest acknowledged ID
	acked   int        // number of acknowledged entries
	group   groupNotes
	drained ID // see Drained
	tails   []*Tail
}

// state is the client's knowledge about an entry. It begins as sent. An unknown entry that
// a read shows later becomes found, and then its ID is known.
type state uint8

const (
	sent    state = iota // no outcome yet
	acked                // a reply told its ID
	refused              // certainly not done
	unknown              // the outcome is unknown
	found                // no reply told its ID, but a read has shown it
)

func (s state) String() string {
	return [...]string{"sent", "acknowledged", "refused", "unknown", "found"}[s]
}

// entry is an entry that was begun. Its stream's mu guards it.
type entry struct {
	id    ID // zero unless state is acked or found
	state state
	gone  bool // a delete of it was sent
	twin  bool // the next entry is of the same transaction

	// Its life in the group.
	handed     bool          // a consumer received it
	fresh      bool          // a consumer received it by ">"
	nacked     bool          // an XNACK of it was sent; after that it may be handed out at once
	maybeAcked bool          // an XACK of it was sent
	finished   bool          // an XACK returned 1, at finishedAt
	fuzzy      bool          // count is not reliable
	count      int32         // the delivery count that XPENDING should show
	handedAt   time.Duration // begin of the last call that handed it out
	countedAt  time.Duration // end of the last call that changed the count
	setAt      time.Duration // end of the last call that set the count, by RETRYCOUNT
	finishedAt time.Duration
}

// groupNotes are the clients' knowledge about a stream's group.
type groupNotes struct {
	position     ID    // the greatest last-delivered-id that was read
	unknownCalls int32 // calls that hand out entries and had an unknown outcome
	delivered    int   // deliveries that clients received
	finished     int   // entries whose XACK returned 1
}

// NewStream adds a stream with a number of its own, which its payloads begin with. The
// name must be unique in the run.
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

// Forget removes a stream after its last check.
func (b *Book) Forget(s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s.number)
}

// Ticket is an XADD that was begun. Its client settles it with exactly one of Added,
// Refused and Unknown.
type Ticket struct {
	Payload string // the first value of the entry
	pos     int    // index of the entry
	floor   ID     // the stream's floor at Begin
}

// fillerBytes is the length of the second value, so that entries have a usual size.
const fillerBytes = 100

// Filler returns the second value of the entry with a payload: the payload, repeated.
func Filler(payload string) string {
	return strings.Repeat(payload, fillerBytes/len(payload)+1)[:fillerBytes]
}

// Begin records that an XADD is about to be sent.
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

// payload returns the payload of the entry at an index: "e1a.7" is entry 7 of stream
// number 46, which is 1a in base 36.
func (s *Stream) payload(pos int) string {
	return "e" + strconv.FormatUint(uint64(s.number), 36) + "." + strconv.Itoa(pos)
}

// position returns the index of the entry with a payload, or false when it is no payload
// of s. The caller holds mu.
func (s *Stream) position(payload string) (int, bool) {
	num, pos, ok := strings.Cut(strings.TrimPrefix(payload, "e"), ".")
	n, err := strconv.ParseUint(num, 36, 32)
	i, err2 := strconv.Atoi(pos)
	return i, ok && err == nil && err2 == nil && uint32(n) == s.number && i >= 0 && i < len(s.entries) && s.payload(i) == payload
}

// Added records that an XADD was acknowledged with id. prev, unless nil, holds the ID of
// the XADD that the same connection sent before to this stream; Added sets it to id.
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

// identify sets the ID of an entry. The caller holds mu.
func (s *Stream) identify(pos int, id ID) {
	s.entries[pos].id = id
	if s.byID != nil {
		s.byID[id] = pos
	}
}

// Refused records that an XADD was certainly not done.
func (s *Stream) Refused(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[t.pos]
	if e.state == found {
		s.book.Add("S2", "%s: %s was refused, but a read showed it as %v", s.Name, t.Payload, e.id)
	}
	e.state = refused
}

// Unknown records that the outcome of an XADD is unknown.
func (s *Stream) Unknown(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := &s.entries[t.pos]; e.state == sent {
		e.state = unknown
	}
}

// Floor returns the greatest ID acknowledged so far. A linearizable read that begins now
// must see this entry, unless it was deleted.
func (s *Stream) Floor() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor
}

// Last checks a read of the last entry: it returned id, the zero ID for an empty stream,
// and it began when Floor returned floor. No entry of s is ever deleted. how names the
// command in the violation.
func (s *Stream) Last(id, floor ID, how string) {
	if id.Less(floor) {
		s.book.Add("S6", "%s: %s returned %v as the last entry, though %v was acknowledged before it began", s.Name, how, id, floor)
	}
}

// Gone records that a delete of an entry is about to be sent.
func (s *Stream) Gone(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].gone = true
	}
}

// Acked returns the number of acknowledged entries.
func (s *Stream) Acked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Known returns the payload and ID of an acknowledged entry: the first one at or after the
// share at of the stream, such as 0.5 for the middle. It returns false when there is none.
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

// see checks an entry that a server returned, and identifies it if its ID was not known.
// It returns nil for a payload that was never sent to s. The caller holds mu.
func (s *Stream) see(where string, id ID, payload string) *entry {
	i, ok := s.position(payload)
	if !ok {
		s.book.Add("S2", "%s: %s shows %q as %v, which no client sent to this stream", s.Name, where, payload, id)
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

// Counts are the numbers of a stream's entries by outcome, and of its group's deliveries
// and acknowledged entries.
type Counts struct{ Acked, Unknown, Refused, Delivered, Finished int }

// Counts returns the counts of s. Entries that were found count as Unknown.
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
