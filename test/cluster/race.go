//go:build race

package cluster

// raceFlags makes the servers detect races where the tests do.
var raceFlags = []string{"-race"}
