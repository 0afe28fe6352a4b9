package stream

// Redis counts the entries that a group has read, and computes its lag from this number. A
// deleted entry ahead of the group makes both unknown. The rules here are those of redis
// src/t_stream.c: streamRangeHasTombstones, streamEstimateDistanceFromFirstEverEntry and
// streamReplyWithCGLag.

// unknownRead is the entries-read of a group when the number is not known.
const unknownRead = -1

// tombstoneFrom reports whether the greatest deleted ID is at or after id, and not before
// the first live entry. For example, after 2-0 of 1-0, 2-0 and 3-0 was deleted, the answer
// is true for 2-0 and false for 3-0.
func (h *Head) tombstoneFrom(id ID) bool {
	if h.Length == 0 || h.MaxDeleted.IsZero() || h.MaxDeleted.Less(h.First) {
		return false
	}
	return !h.MaxDeleted.Less(id)
}

// readUpTo returns the number of entries that were ever added up to id, with id included,
// or unknownRead. The stream must not be empty.
func (h *Head) readUpTo(id ID) int64 {
	switch {
	case id == h.Last:
		return int64(h.Added)
	case h.tombstoneFrom(h.First) || h.First.Less(id):
		return unknownRead
	case id == h.First:
		return int64(h.Added-h.Length) + 1
	}
	return int64(h.Added - h.Length)
}

// readAtMost returns the number n of an ENTRIESREAD option, reduced to the number of
// entries ever added. As in Redis, that number may exceed the greatest int64.
func (h *Head) readAtMost(n int64) int64 {
	if n != unknownRead && uint64(n) > h.Added {
		return int64(h.Added)
	}
	return n
}

// advance moves the group g of h to the entry id, which is being delivered.
func (g *group) advance(h *Head, id ID) {
	if g.entriesRead != unknownRead && !g.delivered.Less(h.First) && !h.tombstoneFrom(g.delivered) {
		g.entriesRead++
	} else {
		g.entriesRead = h.readUpTo(id)
	}
	g.delivered = id
}

// lag returns the number of entries of h that g has not read, and whether it is known.
func (g *group) lag(h *Head) (int64, bool) {
	switch {
	case h.Length == 0:
		return 0, true
	case g.delivered.Less(h.First) && h.MaxDeleted.Less(h.First):
		return int64(h.Length), true
	case g.entriesRead != unknownRead && !h.tombstoneFrom(g.delivered):
		return int64(h.Added) - g.entriesRead, true
	}
	read := h.readUpTo(g.delivered)
	return int64(h.Added) - read, read != unknownRead
}
