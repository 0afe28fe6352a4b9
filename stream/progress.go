package stream

// How far a group has read, and how far it is behind, are counts that Redis keeps only
// where it can: a deleted entry ahead of a group makes them unknown. The rules here are
// those of redis src/t_stream.c: streamRangeHasTombstones,
// streamEstimateDistanceFromFirstEverEntry and streamReplyWithCGLag.

// unknownRead is the entries-read of a group whose count is not known.
const unknownRead = -1

// tombstoneFrom reports whether an entry at or after id was deleted that has live ones
// before or after it.
func (h *Head) tombstoneFrom(id ID) bool {
	if h.Length == 0 || h.MaxDeleted.IsZero() || h.MaxDeleted.Less(h.First) {
		return false
	}
	return !h.MaxDeleted.Less(id)
}

// readUpTo estimates how many entries were added up to and with id, in a stream that
// has entries; unknownRead where that cannot be told.
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

// readAtMost returns ENTRIESREAD's count, which is no more than what was ever added. As
// in Redis that may be beyond the greatest signed number.
func (h *Head) readAtMost(n int64) int64 {
	if n != unknownRead && uint64(n) > h.Added {
		return int64(h.Added)
	}
	return n
}

// advance moves g, a group of h, to id, an entry that is being delivered.
func (g *group) advance(h *Head, id ID) {
	if g.entriesRead != unknownRead && !g.delivered.Less(h.First) && !h.tombstoneFrom(g.delivered) {
		g.entriesRead++
	} else {
		g.entriesRead = h.readUpTo(id)
	}
	g.delivered = id
}

// lag returns how many entries of h the group g has yet to read, and whether that is
// known.
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
