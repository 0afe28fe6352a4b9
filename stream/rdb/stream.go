package rdb

import (
	"cmp"
	"slices"
)

// A stream. Numbers are lengths (reader.go). An ID is two lengths, a raw ID sixteen bytes,
// big-endian, and a time an i64, little-endian. "from 19 on" means: in values of type 19 or
// above (payload.go).
//
//	chunks × { chunk (chunk.go) }
//	length, last ID
//	first ID, greatest deleted ID, added             from 19 on
//	groups × {
//	    name, delivered ID
//	    entries read                                 from 19 on
//	    pending × { raw ID, time, deliveries }
//	    consumers × {
//	        name, seen: time
//	        active: time                             from 21 on
//	        pending × { raw ID }
//	    }
//	    released × { raw ID }                        from 27 on
//	}
//	seconds, size,                                   from 26 on
//	producers × { name, iids × { iid, ID } }
//	iids added, duplicates
//
// Type 19 has no active times. When a consumer was last active at another time than it was
// last seen, Millrace adds a trailer to it:
//
//	'M' 'R' 'A', consumers of all groups × { active: time }
//
// Redis ignores bytes after a value, so that a Redis 7.0 can still read the stream; see
// decision 12.

// trailer is the start of Millrace's trailer.
const trailer = "MRA"

// Stream is a stream in a payload.
type Stream struct {
	Chunks     []Chunk // in the order of their IDs
	Length     uint64  // number of entries that are not deleted
	Last       ID      // greatest ID ever
	MaxDeleted ID      // greatest deleted ID
	Added      uint64  // number of entries ever added
	Groups     []Group
	IDMP       *IDMP // nil: the stream has had no idempotent producer; never nil when an entry was released
}

// First returns the ID of the first entry, or 0-0 when there is none.
func (s *Stream) First() ID {
	if len(s.Chunks) == 0 {
		return ID{}
	}
	return s.Chunks[0].Entries[0].ID
}

// Group is a consumer group.
type Group struct {
	Name        []byte
	Delivered   ID
	EntriesRead int64     // -1: not known
	Pending     []Pending // in the order of their IDs
	Consumers   []Consumer
}

// Consumer is a member of a group. Times are in milliseconds since the Unix epoch.
type Consumer struct {
	Name     []byte
	SeenMS   int64
	ActiveMS int64 // -1: never
}

// Nobody is the owner of a released entry.
const Nobody = -1

// Pending is an entry that was delivered and is not acknowledged.
type Pending struct {
	ID          ID
	DeliveredMS int64 // zero when it was released
	Deliveries  uint64
	Owner       int    // index of its consumer, or Nobody
	Place       uint64 // of a released entry: its number in the order of release, from 0
}

// IDMP holds the settings, counts and idempotent IDs of a stream's producers.
type IDMP struct {
	Seconds, MaxSize  uint64 // how long and how many IDs of each producer are remembered
	Added, Duplicates uint64 // idempotent IDs ever added, and XADDs that repeated one
	Producers         []Producer
}

// Producer is an idempotent producer.
type Producer struct {
	Name []byte
	IIDs []IID // the oldest first
}

// IID is an idempotent ID and the entry that it became.
type IID struct {
	Text  []byte
	Entry ID
}

func (r *reader) stream(kind byte) *Stream {
	s := &Stream{}
	after := ID{}
	for n := r.length(); n > 0 && r.err == nil; n-- {
		chunk := r.chunk(after)
		// In Redis, XTRIM MINID can leave a chunk whose entries are all deleted.
		if after = chunk.Last; r.err == nil && len(chunk.Entries) > 0 {
			s.Chunks = append(s.Chunks, chunk)
			s.Length += uint64(len(chunk.Entries))
		}
	}
	if n := r.length(); n != s.Length {
		r.fail("stream of %d entries counts %d", s.Length, n)
	}
	s.Last = r.id()
	if n := len(s.Chunks); n > 0 && s.Last.less(after) {
		if end := s.Chunks[n-1].end(); s.Last.less(end) {
			r.fail("greatest ID %v is below the entry %v", s.Last, end)
		}
		s.Chunks[n-1].Last = s.Last
	}
	s.Added = s.Length
	if kind >= typeStream2 {
		r.id() // the first ID, which the chunks show as well
		s.MaxDeleted, s.Added = r.id(), r.signed("entries added")
	}
	if s.Added < s.Length || s.Last.less(s.MaxDeleted) {
		r.fail("stream of %d entries up to %v says it had %d up to %v", s.Length, s.Last, s.Added, s.MaxDeleted)
	}
	names := make(map[string]bool)
	for n := r.length(); n > 0 && r.err == nil; n-- {
		g := r.group(kind, s)
		if names[string(g.Name)] {
			r.fail("two groups %q", g.Name)
		}
		names[string(g.Name)] = true
		s.Groups = append(s.Groups, g)
	}
	if kind >= typeStream4 {
		s.IDMP = r.idmp()
	}
	if kind == typeStream2 && r.err == nil && len(r.b) > 0 {
		r.trailer(s)
	}
	return s
}

func (r *reader) group(kind byte, s *Stream) Group {
	g := Group{Name: r.string(), Delivered: r.id()}
	r.stop(r.budget.Group(g.Name))
	if kind >= typeStream2 {
		if g.EntriesRead = int64(r.length()); g.EntriesRead < -1 {
			r.fail("group that has read %d entries", g.EntriesRead)
		}
	} else {
		g.EntriesRead = s.readUpTo(g.Delivered)
	}
	last := ID{}
	for n := r.length(); n > 0 && r.err == nil; n-- {
		p := Pending{ID: r.rawID(), DeliveredMS: r.time(0), Deliveries: r.signed("deliveries"), Owner: Nobody}
		r.stop(r.budget.Pending())
		if !last.less(p.ID) {
			r.fail("pending entry %v is not after %v", p.ID, last)
		}
		last = p.ID
		g.Pending = append(g.Pending, p)
	}
	owned := 0
	names := make(map[string]bool)
	for n := r.length(); n > 0 && r.err == nil; n-- {
		c := Consumer{Name: r.string(), SeenMS: r.time(0)}
		c.ActiveMS = c.SeenMS
		if kind >= typeStream3 {
			c.ActiveMS = r.time(-1)
		}
		r.stop(r.budget.Consumer(c.Name))
		if names[string(c.Name)] {
			r.fail("two consumers %q", c.Name)
		}
		names[string(c.Name)] = true
		owned += r.owned(&g, len(g.Consumers))
		g.Consumers = append(g.Consumers, c)
	}
	released := 0
	if kind >= typeStream5 {
		released = r.released(&g)
	}
	if owned+released != len(g.Pending) {
		r.fail("group of %d pending entries, of which %d have an owner and %d were released", len(g.Pending), owned, released)
	}
	return g
}

// owned reads the IDs that a consumer owns, sets the owner of these pending entries, and
// returns their number.
func (r *reader) owned(g *Group, owner int) int {
	count, last := 0, ID{}
	for n := r.length(); n > 0 && r.err == nil; n-- {
		id := r.rawID()
		p := g.find(id)
		switch {
		case p == nil:
			r.fail("consumer owns %v, which is not pending", id)
		case p.Owner != Nobody:
			r.fail("pending entry %v has two owners", id)
		case !last.less(id):
			r.fail("consumer owns %v after %v", id, last)
		default:
			p.Owner = owner
			count++
		}
		last = id
	}
	return count
}

// released reads the IDs of the released entries, sets their places, and returns their
// number.
func (r *reader) released(g *Group) int {
	place := make(map[ID]uint64)
	for n := r.length(); n > 0 && r.err == nil; n-- {
		id := r.rawID()
		p := g.find(id)
		if _, twice := place[id]; twice || p == nil || p.Owner != Nobody {
			r.fail("released entry %v is not pending, has an owner, or comes twice", id)
			break
		}
		p.Place = uint64(len(place))
		place[id] = p.Place
	}
	return len(place)
}

// find returns the pending entry with this ID, or nil.
func (g *Group) find(id ID) *Pending {
	i, ok := slices.BinarySearchFunc(g.Pending, id, func(p Pending, id ID) int { return p.ID.compare(id) })
	if !ok {
		return nil
	}
	return &g.Pending[i]
}

// readUpTo estimates the number of entries that a group has read when id was the last one,
// or returns -1. It is for payloads of before Redis 7.0, which have neither this number nor
// the greatest deleted ID. The rule is Redis's: streamEstimateDistanceFromFirstEverEntry in
// redis src/t_stream.c.
func (s *Stream) readUpTo(id ID) int64 {
	switch first := s.First(); {
	case s.Length == 0:
		return 0
	case id == s.Last:
		return int64(s.Added)
	case id.less(first):
		return 0
	case id == first:
		return 1
	}
	return -1
}

func (r *reader) idmp() *IDMP {
	m := &IDMP{Seconds: r.length(), MaxSize: r.length()}
	names := make(map[string]bool)
	for n := r.length(); n > 0 && r.err == nil; n-- {
		p := Producer{Name: r.string()}
		if names[string(p.Name)] {
			r.fail("two producers %q", p.Name)
		}
		names[string(p.Name)] = true
		r.stop(r.budget.Producer(p.Name))
		iids := make(map[string]bool)
		for n := r.length(); n > 0 && r.err == nil; n-- {
			iid := IID{Text: r.string(), Entry: r.id()}
			r.stop(r.budget.IID(p.Name, iid.Text))
			if iids[string(iid.Text)] {
				r.fail("two idempotent IDs %q", iid.Text)
			}
			iids[string(iid.Text)] = true
			p.IIDs = append(p.IIDs, iid)
		}
		m.Producers = append(m.Producers, p)
	}
	m.Added, m.Duplicates = r.signed("idempotent IDs"), r.signed("duplicates")
	return m
}

// trailer reads the active times of all consumers.
func (r *reader) trailer(s *Stream) {
	if mark := r.next(uint64(len(trailer))); string(mark) != trailer {
		r.fail("a stream is followed by %q", mark)
	}
	for _, g := range s.Groups {
		for i := range g.Consumers {
			g.Consumers[i].ActiveMS = r.time(-1)
		}
	}
}

// EncodeStream returns the payload of a stream. It uses the oldest type that can hold the
// stream, but not one older than Redis 7.0, so that as many servers as possible can read it.
// Deleted entries are left out of the chunks.
func EncodeStream(s *Stream) []byte {
	kind, version := byte(typeStream2), uint16(versionStream2)
	if s.IDMP != nil {
		kind, version = typeStream4, versionStream4
	}
	inactive := false
	for _, g := range s.Groups {
		for _, p := range g.Pending {
			if p.Owner == Nobody {
				kind, version = typeStream5, versionStream5
			}
		}
		for _, c := range g.Consumers {
			inactive = inactive || c.ActiveMS != c.SeenMS
		}
	}
	b := appendLength([]byte{kind}, uint64(len(s.Chunks)))
	for i := range s.Chunks {
		b = appendChunk(b, &s.Chunks[i])
	}
	b = appendID(appendLength(b, s.Length), s.Last)
	b = appendLength(appendID(appendID(b, s.First()), s.MaxDeleted), s.Added)
	b = appendLength(b, uint64(len(s.Groups)))
	for i := range s.Groups {
		b = appendGroup(b, kind, &s.Groups[i])
	}
	if kind >= typeStream4 {
		b = appendIDMP(b, s.IDMP)
	}
	if kind == typeStream2 && inactive {
		b = append(b, trailer...)
		for _, g := range s.Groups {
			for _, c := range g.Consumers {
				b = appendTime(b, c.ActiveMS)
			}
		}
	}
	return seal(b, version)
}

func appendGroup(b []byte, kind byte, g *Group) []byte {
	b = appendID(appendString(b, g.Name), g.Delivered)
	b = appendLength(b, uint64(g.EntriesRead))
	b = appendLength(b, uint64(len(g.Pending)))
	owned := make([][]ID, len(g.Consumers))
	var released []Pending
	for _, p := range g.Pending {
		b = appendLength(appendTime(appendRawID(b, p.ID), p.DeliveredMS), p.Deliveries)
		if p.Owner == Nobody {
			released = append(released, p)
		} else {
			owned[p.Owner] = append(owned[p.Owner], p.ID)
		}
	}
	b = appendLength(b, uint64(len(g.Consumers)))
	for i, c := range g.Consumers {
		b = appendTime(appendString(b, c.Name), c.SeenMS)
		if kind >= typeStream3 {
			b = appendTime(b, c.ActiveMS)
		}
		b = appendLength(b, uint64(len(owned[i])))
		for _, id := range owned[i] {
			b = appendRawID(b, id)
		}
	}
	if kind >= typeStream5 {
		slices.SortFunc(released, func(a, b Pending) int { return cmp.Compare(a.Place, b.Place) })
		b = appendLength(b, uint64(len(released)))
		for _, p := range released {
			b = appendRawID(b, p.ID)
		}
	}
	return b
}

func appendIDMP(b []byte, m *IDMP) []byte {
	b = appendLength(appendLength(b, m.Seconds), m.MaxSize)
	b = appendLength(b, uint64(len(m.Producers)))
	for _, p := range m.Producers {
		b = appendLength(appendString(b, p.Name), uint64(len(p.IIDs)))
		for _, iid := range p.IIDs {
			b = appendID(appendString(b, iid.Text), iid.Entry)
		}
	}
	return appendLength(appendLength(b, m.Added), m.Duplicates)
}
