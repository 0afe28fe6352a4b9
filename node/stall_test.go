package node

import (
	"testing"
	"time"
)

// TestAwake gives the age of an operation at each look, and the age that counts.
func TestAwake(t *testing.T) {
	const s = time.Second
	type ask struct{ after, took, want time.Duration }
	for _, tc := range []struct {
		name string
		asks []ask
	}{
		{"a working disk", []ask{{s, 0, 0}, {s, time.Millisecond, time.Millisecond}, {s, 0, 0}}},
		{"a disk that hangs", []ask{{s, 0, 0}, {s, s / 2, s / 2}, {s, 3 * s / 2, 3 * s / 2}, {s, 5 * s / 2, 5 * s / 2}, {2 * s, 9 * s / 2, 9 * s / 2}}},
		{"one operation after another", []ask{{s, 0, 0}, {2 * s, 2 * s, 2 * s}, {s, s / 4, s / 4}, {s, 5 * s / 4, 5 * s / 4}}},
		{"a process that was suspended for 25 s", []ask{{s, 0, 0}, {25 * s, 25 * s, 0}, {s, 26 * s, s}, {s, time.Millisecond, time.Millisecond}}},
		{"a disk that hangs before and after", []ask{{s, 0, 0}, {s, s, s}, {60 * s, 61 * s, 0}, {s, 62 * s, s}, {2 * s, 64 * s, 3 * s}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var a awake
			now := time.Unix(1, 0)
			for i, l := range tc.asks {
				now = now.Add(l.after)
				if got := a.atMost(now, l.took); got != l.want {
					t.Errorf("%d: %v, want %v", i, got, l.want)
				}
			}
		})
	}
}
