package stream_test

import (
	"testing"

	"millrace/stream"
)

// TestLookups checks that reading commands count each name that they look up, and that
// writing and internal commands count none.
func TestLookups(t *testing.T) {
	r := newRig(t)
	var l stream.Lookups
	r.state.CountLookups(&l)
	for _, c := range []struct {
		line         string
		hits, misses uint64 // of this command
	}{
		{"SET a 1", 0, 0},
		{"XADD s 1-1 f v", 0, 0},
		{"GET a", 1, 0},
		{"GET b", 0, 1},
		{"EXISTS a b a", 2, 1},
		{"MGET a b", 1, 1},
		{"XLEN s", 1, 0},
		{"XRANGE s - + COUNT 1", 1, 0},
		{"XREAD STREAMS s none 0 0", 1, 1},
		{"GET s", 1, 0},
		{"TTL a", 1, 0},
		{"DEL b", 0, 0},
		{"_XLASTID s none", 0, 0},
		{"_KEYSPACE", 0, 0},
	} {
		hits, misses := l.Hits(), l.Misses()
		r.do(c.line)
		if hits, misses = l.Hits()-hits, l.Misses()-misses; hits != c.hits || misses != c.misses {
			t.Errorf("%s: %d hits and %d misses, want %d and %d", c.line, hits, misses, c.hits, c.misses)
		}
	}
}
