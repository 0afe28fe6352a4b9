package check

import "time"

// Hand is how an entry came to a consumer.
type Hand uint8

const (
	Fresh     Hand = iota // XREADGROUP with ">"
	Claimed               // XCLAIM, XAUTOCLAIM or XREADGROUP CLAIM
	ClaimedID             // a claim with JUSTID: it shows the ID alone and does not count
)

// Delivery is a call that has handed entries to a consumer.
type Delivery struct {
	Consumer string
	How      Hand
	MinIdle  time.Duration // of a claim
	Sets     bool          // a claim with RETRYCOUNT
	Count    int32         // … which has set the delivery count to this
	Began    time.Duration // when the call was sent
	Ended    time.Duration // when it was answered
}

// idleSlack is how much sooner than its idle time an entry may be claimed by our
// clocks: the shard's is in whole milliseconds.
const idleSlack = 5 * time.Millisecond

// Delivered says that a call has handed an entry of s to a consumer. clocks says that
// the nodes' clocks were left alone, so that idle times can be compared with ours. Of an
// item that was handed out by ClaimedID, the ID is enough.
func (s *Stream) Delivered(d Delivery, it Item, clocks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *entry
	if d.How == ClaimedID {
		if i, ok := s.byID[it.ID]; ok {
			e = &s.entries[i]
		} // else its XADD and its first delivery are unknown, and there is nothing to compare
	} else {
		e = s.see("group "+s.Group, it.ID, it.Payload)
	}
	if e == nil {
		return
	}
	s.group.delivered++
	if e.finished && e.finishedAt < d.Began {
		s.book.Add("G3", "%s %v (%s) was handed to %s by a call that began at %v, after its XACK was answered at %v",
			s.Name, it.ID, it.Payload, d.Consumer, d.Began, e.finishedAt)
	}
	switch d.How {
	case Fresh:
		if e.fresh && !e.nacked { // one that was given back in silence looks like new
			s.book.Add("G2", "%s %v (%s) was handed to %s as new, a second time", s.Name, it.ID, it.Payload, d.Consumer)
		}
		e.fresh = true
	case Claimed, ClaimedID:
	}
	e.counted(d)
	// The entry was handed out after the call before this one began, and again before
	// this one ended: it cannot have been idle for longer than that.
	if d.How != Fresh && e.handed && !e.nacked && clocks && d.Ended-e.handedAt+idleSlack < d.MinIdle {
		s.book.Add("G8", "%s %v (%s) was claimed by %s with min-idle %v, %v at most after it was handed out",
			s.Name, it.ID, it.Payload, d.Consumer, d.MinIdle, d.Ended-e.handedAt)
	}
	if !e.handed || e.handedAt < d.Began {
		e.handedAt = d.Began
	}
	e.handed = true
}

// counted follows the delivery count of e.
func (e *entry) counted(d Delivery) {
	switch {
	case d.Sets:
		// Which of two that overlap came first is not known.
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

// Payload returns the payload of the entry with an ID, if it is known.
func (s *Stream) Payload(id ID) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.byID[id]
	if !ok {
		return "", false
	}
	return s.payload(i), true
}

// Acking says that an XACK of an entry is about to be sent.
func (s *Stream) Acking(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].maybeAcked = true
	}
}

// Finished says that an XACK of an entry was answered 1.
func (s *Stream) Finished(payload string, id ID, consumer string, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.position(payload)
	if !ok {
		return // see has told
	}
	e := &s.entries[i]
	if e.finished {
		s.book.Add("G3", "%s %v (%s): XACK was answered 1 to %s, a second time", s.Name, id, payload, consumer)
		return
	}
	e.finished, e.finishedAt = true, now
	s.group.finished++
}

// Nacking says that an XNACK of an entry is about to be sent.
func (s *Stream) Nacking(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.position(payload); ok {
		s.entries[i].nacked, s.entries[i].fuzzy = true, true
	}
}

// GroupUnknown says that a call which hands out entries of s, and counts that, has no
// known outcome.
func (s *Stream) GroupUnknown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group.unknownCalls++
}

// SetUnknown says that a claim of entries with RETRYCOUNT has no known outcome: what
// their delivery counts are is not known any more.
func (s *Stream) SetUnknown(ids []ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if i, ok := s.byID[id]; ok {
			s.entries[i].fuzzy = true
		}
	}
}

// Position returns the greatest last-delivered-id that was read so far.
func (s *Stream) Position() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.group.position
}

// ReadPosition takes a last-delivered-id that was answered to a call which began when
// Position returned before.
func (s *Stream) ReadPosition(id, before ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.Less(before) {
		s.book.Add("G5", "%s: the group's position is %v, after it was %v", s.Name, id, before)
	}
	if s.group.position.Less(id) {
		s.group.position = id
	}
}

// PendingEntry is a pending entry, as XPENDING shows it.
type PendingEntry struct {
	ID       ID
	Consumer string
	IdleMS   int64
	Count    int64
}

// GroupState is a group at a quiet point, as several commands show it.
type GroupState struct {
	Where     string
	Summary   int64            // pending entries, as XPENDING counts them
	Consumers map[string]int64 // of each consumer, as XINFO CONSUMERS says
	Pending   []PendingEntry   // all of them
}

// CheckGroup compares a group at a quiet point, when no call is under way, with what is
// known. Nothing may have been deleted from s.
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
		if p.IdleMS < 0 && p.Consumer != "" { // what belongs to nobody has no idle time
			s.book.Add("G8", "%s: %s: %v has been idle for %d ms", s.Name, g.Where, p.ID, p.IdleMS)
		}
	}
	if g.Summary != int64(len(g.Pending)) {
		s.book.Add("G6", "%s: %s: XPENDING counts %d and shows %d", s.Name, g.Where, g.Summary, len(g.Pending))
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
			s.book.Add("G3", "%s: %s: %v is pending, though its XACK was answered 1", s.Name, g.Where, e.id)
		case !pending && e.handed && !e.finished && !e.maybeAcked && !e.gone:
			s.book.Add("G7", "%s: %s: %v was handed out and never acknowledged, and is not pending", s.Name, g.Where, e.id)
		case pending && !e.fuzzy:
			n := g.Pending[at].Count
			if n < int64(e.count) || n > int64(e.count+s.group.unknownCalls) {
				s.book.Add("G4", "%s: %s: %v was handed out %d times, as XPENDING says, where clients saw %d and %d calls have no known outcome",
					s.Name, g.Where, e.id, n, e.count, s.group.unknownCalls)
			}
		}
	}
}
