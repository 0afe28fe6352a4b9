package shard

import (
	"testing"
	"time"
)

// A record is sent at 0 with a number of calls, and is applied while others wait. How
// long is the next one held back?
func TestPace(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, tc := range []struct {
		name     string
		calls    int
		took     int64 // from sending to applying
		waiting  int   // calls that wait when it is applied
		later    int64 // this long after it was applied …
		now      int   // … so many calls wait
		wantHold time.Duration
	}{
		{"few calls", lingerCalls - 1, 8 * ms, 100, 0, 100, 0},
		{"half of what it took", 16, 6 * ms, 0, 0, 1, 3 * time.Millisecond},
		{"no longer than Linger", 16, 80 * ms, 0, 0, 1, 4 * time.Millisecond},
		{"what is left of it", 16, 6 * ms, 0, 2 * ms, 1, time.Millisecond},
		{"all are back", 16, 6 * ms, 10, ms, 26, 0},
		{"one is missing", 16, 6 * ms, 10, ms, 25, 2 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p pace
			p.sent(tc.calls, 0)
			p.applied(tc.waiting, tc.took, 4*time.Millisecond)
			if got := p.hold(tc.now, tc.took+tc.later); got != tc.wantHold {
				t.Errorf("held for %v, want %v", got, tc.wantHold)
			}
			// Records of other leaders are applied as well, and change nothing.
			p.applied(tc.now, tc.took+tc.later, 4*time.Millisecond)
			if got := p.hold(tc.now, tc.took+tc.later); got != tc.wantHold {
				t.Errorf("after another record held for %v, want %v", got, tc.wantHold)
			}
			if got := p.hold(1, tc.took+int64(time.Second)); got > 0 {
				t.Errorf("held for %v after a second", got)
			}
			p.sent(1, tc.took)
			if got := p.hold(0, tc.took); got > 0 {
				t.Errorf("held for %v by what was before the last record", got)
			}
		})
	}
}
