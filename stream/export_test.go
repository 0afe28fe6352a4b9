package stream

// GroupsCached returns how many groups and consumers s keeps decoded for a stream, and
// how many it may when a batch begins.
func GroupsCached(s *State, name string) (cached, bound int) {
	if h := s.cached[name]; h != nil {
		cached = h.groupsCached
	}
	return cached, maxGroupCached
}
