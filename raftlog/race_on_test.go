//go:build race

package raftlog

// raceEnabled tells long tests that the race detector is on, under which they run about
// ten times slower.
const raceEnabled = true
