package node

import (
	"testing"
	"time"
)

func TestStallWatch(t *testing.T) {
	const s = time.Second
	type look struct{ after, pending, hung time.Duration }
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"a disk that works", []look{{s, 0, 0}, {s, time.Millisecond, time.Millisecond}, {s, 0, 0}}},
		{"a disk that hangs", []look{{s, s / 2, s / 2}, {s, 3 * s / 2, 3 * s / 2}, {s, 5 * s / 2, 5 * s / 2}, {s, 7 * s / 2, 7 * s / 2}}},
		{"one sync after another", []look{{s, s, s}, {s, 2 * s, 2 * s}, {s, s / 4, s / 4}, {s, 5 * s / 4, 5 * s / 4}}},
		{"a process that was stopped for 25 s", []look{{s, 0, 0}, {25 * s, 25 * s, 2 * s}, {s, time.Millisecond, time.Millisecond}}},
		{"a disk that hangs before and after", []look{{s, s, s}, {60 * s, 61 * s, 3 * s}, {s, 62 * s, 4 * s}, {s, 63 * s, 5 * s}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w stallWatch
			now := time.Unix(0, 0)
			for i, l := range tc.looks {
				now = now.Add(l.after)
				if got := w.look(now, l.pending); got != l.hung {
					t.Errorf("look %d: %v, want %v", i, got, l.hung)
				}
			}
		})
	}
}
