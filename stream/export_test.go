package stream

import "millrace/kv"

// GroupsCached returns the number of groups and consumers that s keeps decoded for a stream,
// and the bound of this number at the start of a batch.
func GroupsCached(s *State, name string) (cached, bound int) {
	if h := s.cached[name]; h != nil {
		cached = h.groupsCached
	}
	return cached, maxGroupCached
}

// MatchWork is Match that also returns the work it did.
func MatchWork(pattern, s []byte) (bool, int) { return match(pattern, s) }

// IndexKey returns the key of a name in the index.
func IndexKey(name []byte) []byte { return indexKey(name) }

// IndexKeyAt returns the index key that a name would have with another hash.
func IndexKeyAt(name []byte, hash uint64) []byte {
	return append((place(kv.Slot(name))<<hashBits | place(hash)).appendKey(nil), name...)
}

// MaxCursor is the greatest cursor that SCAN answers.
const MaxCursor = uint64(endPlace - 1)
