package stream

import "sync/atomic"

// Lookups counts the names that reading commands looked up on this node, of all shards
// whose States share it. It is no part of the state: replicas differ in it. Commands
// that write, XREADGROUP among them, are applied by every replica, and not counted.
type Lookups struct {
	hits, misses atomic.Uint64
}

// Hits is how many names were there.
func (l *Lookups) Hits() uint64 { return l.hits.Load() }

// Misses is how many names were not there.
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

// CountLookups has the reads of s counted in l. It is called before s is used.
func (s *State) CountLookups(l *Lookups) { s.lookups = l }
