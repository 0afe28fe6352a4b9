package check

import "time"

// Hand is the way in which an entry came to a consumer.
type Hand uint8

const (
	Fresh     Hand = iota // XREADGROUP with ">"
	Claimed               // XCLAIM, XAUTOCLAIM or XREADGROUP CLAIM
	ClaimedID             // a claim with JUSTID, which returns IDs only and does not count as a delivery
)

// Delivery is a call that handed entries to a consumer. Its times are the run's clock.
type Delivery struct {
	Consumer string
	How      Hand
	MinIdle  time.Duration // of a claim
	Sets     bool          // the call is a claim with RETRYCOUNT
	Count    int32         // the delivery count that it set, if Sets
	Began    time.Duration // when the call was sent
	Ended    time.Duration // when its reply arrived
}

// idleSlack is how much earlier than its minimal idle time an entry may be claimed by the
// run's clock, because the shard's clock counts whole milliseconds.
const idleSlack = 5 * time.Millisecond

// Delivered checks that a call may hand entry it of s to a consumer, and records it. clocks
// is true when no node's clock was disturbed, so that idle times can be checked by the
// run's clock. For ClaimedID, an item with an ID alone is enough.
func (s *Stream) Delivered(d Delivery, it Item, clocks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *entry
	if d.How == ClaimedID {
		if i, ok := s.byID[it.ID]; ok {
			e = &s.entries[i]
		} // otherwise no call has shown the payload of this ID yet, so nothing can be compared
	} else {
		e = s.see("group "+s.Group, it.ID, it.Payload)
	}
	if e == nil {
		return
	}
	s.group.delivered++
	if e.finished && e.finishedAt < d.Began {
		s.book.Add("G3", "%s %v (%s) was handed to %s by a call that began at %v, after its XACK had succeeded at %v",
			s.Name, it.ID, it.Payload, d.Consumer, d.Began, e.finishedAt)
	}
	switch d.How {
	case Fresh:
		if e.fresh && !e.nacked { // after an XNACK, ">" may hand it out again
			s.book.Add("G2", "%s %v (%s) was handed to %s as new, a second time", s.Name, it.ID, it.Payload, d.Consumer)
		}
		e.fresh = true
	case Claimed, ClaimedID:
	}
	e.counted(d)
	// The previous call handed the entry out at or after its begin, and this call before
	// its end. The entry cannot have been idle for longer than the time between the two.
	if d.How != Fresh && e.handed && !e.nacked && clocks && d.Ended-e.handedAt+idleSlack < d.MinIdle {
		s.book.Add("G8", "%s %v (%s) was claimed by %s with min-idle %v, at most %v after it was handed out",
			s.Name, it.ID, it.Payload, d.Consumer, d.MinIdle, d.Ended-e.handedAt)
	}
	if !e.handed || e.handedAt < d.Began {
		e.handedAt = d.Began
	}
	e.handed = true
}

// counted updates the delivery count of e. When a call that sets the count overlaps with
// another one, their order is unknown, and the count becomes fuzzy.
func (e *entry) counted(d Delivery) {
	switch {
	case d.Sets:
		e.fuzzy = e.fuzzy || e.countedAt > d.Began
		e.count, e.setAt = d.Count, max(e.setAt, d.Ended)
	case d.How != ClaimedID:
		e.fuzzy = e.fuzzy || e.setAt > d.Began
		e.count++
	default:
		return
	}
	e.countedAt = max(e.countedAt, d.Ended)
}

// Payload returns the payload of the entry with an ID, or false when the ID is not known.
func (s *Stream) Payload(id ID) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.byID[id]
	if !ok {
		return "", false
	}
	return s.payload(i), true
}

// Acking records that an XACK of an entry is about to be sent.
func (s *Stream) Acking(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].maybeAcked = true
	}
}

// Finished records that an XACK of an entry returned 1, at the time now. That must happen
// only once.
func (s *Stream) Finished(payload string, id ID, consumer string, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.position(payload)
	if !ok {
		return // see has reported the payload
	}
	e := &s.entries[i]
	if e.finished {
		s.book.Add("G3", "%s %v (%s): XACK returned 1 for the second time, to %s", s.Name, id, payload, consumer)
		return
	}
	e.finished, e.finishedAt = true, now
	s.group.finished++
}

// Nacking records that an XNACK of an entry is about to be sent.
func (s *Stream) Nacking(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].nacked, s.entries[i].fuzzy = true, true
	}
}

// GroupUnknown records that the outcome of a call that hands out entries of s is unknown.
// It may have raised the delivery count of any entry by one.
func (s *Stream) GroupUnknown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group.unknownCalls++
}

// SetUnknown records that the outcome of a claim of entries with RETRYCOUNT is unknown.
// From then on their delivery counts are not checked.
func (s *Stream) SetUnknown(ids []ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if i, ok := s.byID[id]; ok {
			s.entries[i].fuzzy = true
		}
	}
}

// Position returns the greatest last-delivered-id of all reads so far.
func (s *Stream) Position() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.group.position
}

// ReadPosition checks a last-delivered-id that a read returned. The read began when
// Position returned before.
func (s *Stream) ReadPosition(id, before ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.Less(before) {
		s.book.Add("G5", "%s: the group's position is %v, but an earlier read returned %v", s.Name, id, before)
	}
	if s.group.position.Less(id) {
		s.group.position = id
	}
}

// PendingEntry is a pending entry in the reply of XPENDING.
type PendingEntry struct {
	ID       ID
	Consumer string // empty: an XNACK gave it back, and nobody owns it
	IdleMS   int64
	Count    int64 // deliveries
}

// GroupState is the state of a group at a quiet point, as several commands show it.
type GroupState struct {
	Where     string           // names the node in a violation
	Summary   int64            // number of pending entries by XPENDING
	Consumers map[string]int64 // number of each consumer's pending entries by XINFO CONSUMERS
	Pending   []PendingEntry   // all pending entries
}

// CheckGroup compares a group at a quiet point, when no call is under way, with the
// clients' knowledge. No entry of s may have been deleted.
func (s *Stream) CheckGroup(g GroupState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owners := map[string]int64{}
	byID := make(map[ID]int, len(g.Pending))
	for i, p := range g.Pending {
		if _, twice := byID[p.ID]; twice {
			s.book.Add("G6", "%s: %s: %v is pending twice", s.Name, g.Where, p.ID)
		}
		byID[p.ID] = i
		owners[p.Consumer]++
		if p.IdleMS < 0 && p.Consumer != "" { // an entry without an owner has no idle time
			s.book.Add("G8", "%s: %s: %v has been idle for %d ms", s.Name, g.Where, p.ID, p.IdleMS)
		}
	}
	if g.Summary != int64(len(g.Pending)) {
		s.book.Add("G6", "%s: %s: XPENDING counts %d entries and lists %d", s.Name, g.Where, g.Summary, len(g.Pending))
	}
	for c, n := range g.Consumers {
		if owners[c] != n {
			s.book.Add("G6", "%s: %s: consumer %q has %d pending entries by XINFO, %d by XPENDING", s.Name, g.Where, c, n, owners[c])
		}
	}
	for i := range s.entries {
		e := &s.entries[i]
		if e.state != acked && e.state != found {
			continue
		}
		at, pending := byID[e.id]
		switch {
		case pending && e.finished:
			s.book.Add("G3", "%s: %s: %v is pending, though its XACK returned 1", s.Name, g.Where, e.id)
		case !pending && e.handed && !e.finished && !e.maybeAcked && !e.gone:
			s.book.Add("G7", "%s: %s: %v was handed out and never acknowledged, but is not pending", s.Name, g.Where, e.id)
		case pending && !e.fuzzy:
			n := g.Pending[at].Count
			if n < int64(e.count) || n > int64(e.count+s.group.unknownCalls) {
				s.book.Add("G4", "%s: %s: %v was handed out %d times by XPENDING, but clients saw %d deliveries, and only %d calls have an unknown outcome",
					s.Name, g.Where, e.id, n, e.count, s.group.unknownCalls)
			}
		}
	}
}
