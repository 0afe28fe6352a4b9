package check

// Progress is the progress of a stream's group, as several commands of one transaction
// show it.
type Progress struct {
	Where string // names the group in a violation

	// From XINFO STREAM.
	Length     int64
	Added      int64
	First      ID // ID of the first entry; zero when the stream is empty
	Last       ID // last-generated-id
	MaxDeleted ID // max-deleted-entry-id

	// From XINFO GROUPS; unknownCount stands for null.
	Position ID    // last-delivered-id
	Read     int64 // entries-read
	Lag      int64

	// From XRANGE: the number of entries after Position.
	Ahead int64
}

// unknownCount stands for a null reply.
const unknownCount = -1

// CheckLag checks G10: the lag of a group is the one that Redis would show, and equals the
// number of entries ahead of the group unless it is null.
func (s *Stream) CheckLag(p Progress) {
	if want := p.RedisLag(); p.Lag != want {
		s.book.Add("G10", "%s: %s: the lag is %d, but Redis shows %d (-1: null): %+v", s.Name, p.Where, p.Lag, want, p)
	}
	if p.Lag >= 0 && p.Lag != p.Ahead {
		s.book.Add("G10", "%s: %s: the lag is %d, but %d entries are ahead of the group: %+v", s.Name, p.Where, p.Lag, p.Ahead, p)
	}
}

// RedisLag returns the lag that Redis shows, or unknownCount. The rule is that of
// streamReplyWithCGLag in Redis 8's src/t_stream.c and of the functions it calls.
func (p *Progress) RedisLag() int64 {
	switch {
	case p.Length == 0:
		return 0
	case p.Position.Less(p.First) && p.MaxDeleted.Less(p.First):
		return p.Length
	case p.Read >= 0 && !p.deletedAhead():
		return p.Added - p.Read
	}
	// streamEstimateDistanceFromFirstEverEntry: without a usable count, the distance is
	// known only when the group stands at one of the stream's ends.
	switch {
	case p.Position == p.Last:
		return 0
	case p.Position.Less(p.MaxDeleted) || p.Last.Less(p.Position) || !p.MaxDeleted.Less(p.First):
		return unknownCount
	case p.Position.Less(p.First):
		return p.Length
	case p.Position == p.First:
		return p.Length - 1
	}
	return unknownCount
}

// deletedAhead reports whether an entry at or after the group's position may have been
// deleted while an earlier one lives on. The rule is Redis's streamRangeHasTombstones.
func (p *Progress) deletedAhead() bool {
	return p.MaxDeleted != ID{} && !p.MaxDeleted.Less(p.First) && !p.MaxDeleted.Less(p.Position)
}
