package check

// Progress is how far a group of a stream has come, as the server says it and as the
// entries show it, all at one moment.
type Progress struct {
	Where string

	// As XINFO STREAM says.
	Length     int64
	Added      int64
	First      ID // the first entry; zero where there is none
	Last       ID // last-generated-id
	MaxDeleted ID

	// As XINFO GROUPS says; negative: null.
	Position ID // last-delivered-id
	Read     int64
	Lag      int64

	// As XRANGE shows: entries after Position.
	Ahead int64
}

// unknownCount stands for null.
const unknownCount = -1

// CheckLag compares the lag of a group with Redis's rule for it and with the entries.
func (s *Stream) CheckLag(p Progress) {
	if want := p.RedisLag(); p.Lag != want {
		s.book.Add("G10", "%s: %s: the lag is %d, where Redis says %d (-1: null): %+v", s.Name, p.Where, p.Lag, want, p)
	}
	if p.Lag >= 0 && p.Lag != p.Ahead {
		s.book.Add("G10", "%s: %s: the lag is %d, and %d entries are ahead of the group: %+v", s.Name, p.Where, p.Lag, p.Ahead, p)
	}
}

// RedisLag is streamReplyWithCGLag of Redis 8's src/t_stream.c, with what it calls.
func (p *Progress) RedisLag() int64 {
	switch {
	case p.Length == 0:
		return 0
	case p.Position.Less(p.First) && p.MaxDeleted.Less(p.First):
		return p.Length
	case p.Read >= 0 && !p.deletedAhead():
		return p.Added - p.Read
	}
	// streamEstimateDistanceFromFirstEverEntry: what cannot be counted is known at the ends.
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

// deletedAhead reports whether an entry that has live ones before it may have been
// deleted at or after the group's position: streamRangeHasTombstones.
func (p *Progress) deletedAhead() bool {
	return p.MaxDeleted != ID{} && !p.MaxDeleted.Less(p.First) && !p.MaxDeleted.Less(p.Position)
}
