package stream

import "sync/atomic"

// Lookups counts the names that reading commands looked up on this node, for all shards
// whose States share it. The counts are not part of the state, and differ between replicas.
// Writing commands, such as XREADGROUP, are not counted, because every replica runs them.
type Lookups struct {
	hits, misses atomic.Uint64
}

// Hits returns the number of names that existed.
func (l *Lookups) Hits() uint64 { return l.hits.Load() }

// Misses returns the number of names that did not exist.
func (l *Lookups) Misses() uint64 { return l.misses.Load() }

// add counts one name; a nil l counts nothing.
func (l *Lookups) add(found bool) {
	switch {
	case l == nil:
	case found:
		l.hits.Add(1)
	default:
		l.misses.Add(1)
	}
}

// CountLookups makes s count the look-ups of its reads in l. It must be called before s is
// used.
func (s *State) CountLookups(l *Lookups) { s.lookups = l }
