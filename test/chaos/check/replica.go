package check

// Replica compares one replica's copy of a stream, at a quiet point, with the clients'
// knowledge. The caller passes all entries to Items, in the replica's order, and then
// calls Done.
type Replica struct {
	s     *Stream
	where string   // names the replica in a violation
	seen  []uint64 // a bit for each entry of the stream
	prev  int      // index of the previous entry; -1: none, or not one of the stream
	last  ID
	first ID
	count int
	tails []Tail // for each of the stream's tails, the one that would have read this replica
}

// NewReplica begins to compare a replica, which violations call where.
func (s *Stream) NewReplica(where string) *Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Replica{s: s, where: where, seen: make([]uint64, len(s.entries)/64+1), prev: -1}
	for range s.tails {
		r.tails = append(r.tails, Tail{})
	}
	return r
}

// Items checks the next entries.
func (r *Replica) Items(items []Item) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		if r.count > 0 && !r.last.Less(it.ID) {
			s.book.Add("S3", "%s: %s: %v follows %v", s.Name, r.where, it.ID, r.last)
		}
		if r.count == 0 {
			r.first = it.ID
		}
		r.last = it.ID
		r.count++
		prev := r.prev
		r.prev = -1
		for i, t := range s.tails {
			if !t.last.Less(it.ID) {
				r.tails[i].seen++
				r.tails[i].sum = step(r.tails[i].sum, it.ID, it.Payload)
			}
		}
		e := s.see(r.where, it.ID, it.Payload)
		if e == nil {
			continue
		}
		if it.Filler != Filler(it.Payload) {
			s.book.Add("S4", "%s: %s: %v (%s) has a second value of %d bytes, which is not the one that was sent", s.Name, r.where, it.ID, it.Payload, len(it.Filler))
		}
		pos, _ := s.position(it.Payload)
		if r.seen[pos/64]&(1<<(pos%64)) != 0 {
			s.book.Add("S5", "%s: %s: %s is there twice, the second time as %v", s.Name, r.where, it.Payload, it.ID)
		}
		r.seen[pos/64] |= 1 << (pos % 64)
		r.prev = pos
		if pos > 0 && s.entries[pos-1].twin && prev != pos-1 && s.MaxLen == 0 {
			s.book.Add("S4", "%s: %s: %s does not follow %s of its transaction", s.Name, r.where, it.Payload, s.payload(pos-1))
		}
	}
}

// Info is the part of a replica's XINFO STREAM that is checked.
type Info struct {
	Length        int64
	LastGenerated ID
	EntriesAdded  int64
	MaxDeleted    ID
}

// Drained records that the group had handed out every entry when its position was id. An
// entry above id may still appear: TCP can deliver the XADD of a client that has long
// given up, once the node is reachable again.
func (s *Stream) Drained(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = id
}

// Done ends the comparison after the last entry; info is the replica's. If the group was
// drained, every entry must have been handed out that is acknowledged, or that is not
// above the position of Drained.
func (r *Replica) Done(info Info, drained bool) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, firstLost, lastLost := 0, -1, -1
	known, maybe := 0, 0
	for i := range s.entries {
		e := &s.entries[i]
		here := i/64 < len(r.seen) && r.seen[i/64]&(1<<(i%64)) != 0
		switch e.state {
		case acked, found:
			known++
			trimmed := s.MaxLen > 0 && (r.count == 0 || e.id.Less(r.first))
			if !here && !e.gone && !trimmed {
				if lost == 0 {
					firstLost = i
				}
				lost, lastLost = lost+1, i
			}
		case unknown, sent:
			maybe++
		}
		if e.twin && i+1 < len(s.entries) && s.MaxLen == 0 && i+1 < 64*len(r.seen) {
			other := r.seen[(i+1)/64]&(1<<((i+1)%64)) != 0
			if here != other {
				s.book.Add("S4", "%s: %s: of the transaction %s, %s only one entry is there", s.Name, r.where, s.payload(i), s.payload(i+1))
			}
		}
		late := e.state != acked && s.drained.Less(e.id)
		if drained && s.Group != "" && here && !e.handed && !late {
			s.book.Add("G1", "%s: %s: %s (%v) was never handed to a consumer", s.Name, r.where, s.payload(i), e.id)
		}
	}
	if lost > 0 {
		s.book.Add("S1", "%s: %s: %d acknowledged entries of %d are missing: the first is %s (%v), the last %s (%v); the replica holds %d, from %v to %v",
			s.Name, r.where, lost, known, s.payload(firstLost), s.entries[firstLost].id, s.payload(lastLost), s.entries[lastLost].id, r.count, r.first, r.last)
	}
	if info.Length != int64(r.count) {
		s.book.Add("S7", "%s: %s: XLEN is %d, but %d entries are there", s.Name, r.where, info.Length, r.count)
	}
	if info.LastGenerated.Less(s.floor) || info.LastGenerated.Less(r.last) {
		s.book.Add("S7", "%s: %s: the last generated ID is %v, below %v or %v", s.Name, r.where, info.LastGenerated, s.floor, r.last)
	}
	if info.EntriesAdded < int64(known) || info.EntriesAdded > int64(known+maybe) {
		s.book.Add("S7", "%s: %s: entries-added is %d, but %d entries are known and %d more may have been added", s.Name, r.where, info.EntriesAdded, known, maybe)
	}
	if s.MaxLen > 0 && r.count > s.MaxLen {
		s.book.Add("S7", "%s: %s: %d entries are there, but every XADD trims to %d", s.Name, r.where, r.count, s.MaxLen)
	}
	for i, t := range s.tails {
		if t.seen != r.tails[i].seen || t.sum != r.tails[i].sum {
			s.book.Add("S6", "%s: %s: a reader saw %d entries up to %v, but the replica holds %d up to there, or different ones", s.Name, r.where, t.seen, t.last, r.tails[i].seen)
		}
	}
}
