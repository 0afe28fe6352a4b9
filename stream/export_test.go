package stream

import "millrace/kv"

// GroupsCached returns how many groups and consumers s keeps decoded for a stream, and
// how many it may when a batch begins.
func GroupsCached(s *State, name string) (cached, bound int) {
	if h := s.cached[name]; h != nil {
		cached = h.groupsCached
	}
	return cached, maxGroupCached
}

// MatchWork is Match with the work it was.
func MatchWork(pattern, s []byte) (bool, int) { return match(pattern, s) }

// IndexKey returns the key of a name in the index; IndexKeyAt the one it would have
// with another hash.
func IndexKey(name []byte) []byte { return indexKey(name) }

func IndexKeyAt(name []byte, hash uint64) []byte {
	return append((place(kv.Slot(name))<<hashBits | place(hash)).appendKey(nil), name...)
}

// MaxCursor is the greatest cursor that SCAN answers.
const MaxCursor = uint64(endPlace - 1)
