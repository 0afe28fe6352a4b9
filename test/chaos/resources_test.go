package main

import "testing"

// TestUsage checks that a node may use a little more than before, and more in proportion
// to its replicas.
func TestUsage(t *testing.T) {
	base := usage{goroutines: 200, sockets: 60, replicas: 5}
	for _, tc := range []struct {
		name  string
		u     usage
		above bool
	}{
		{"the same", base, false},
		{"a little more", usage{250, 100, 5}, false},
		{"goroutines", usage{270, 60, 5}, true},
		{"sockets", usage{200, 110, 5}, true},
		{"twice the replicas", usage{460, 160, 10}, false},
		{"twice the replicas and more", usage{490, 60, 10}, true},
		{"no replicas", usage{250, 60, 0}, false},
		{"no replicas and more", usage{270, 60, 0}, true},
	} {
		if got := tc.u.above(base); got != tc.above {
			t.Errorf("%s: above %v, want %v", tc.name, got, tc.above)
		}
	}
}
