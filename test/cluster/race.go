//go:build race

package cluster

// raceFlags builds the servers with the race detector if the tests have it.
var raceFlags = []string{"-race"}
