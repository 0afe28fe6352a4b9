// Package tick lets periodic work of a process happen at the same moments, so that an
// idle process wakes once for all of it. It has no state.
//
// Waking is what an idle node spends its time on: a process with thirty timers, each
// with a phase of its own, sleeps no longer than a few milliseconds.
package tick

import "time"

// Until returns how long it is to the next multiple of period of the system's clock:
// above zero, and at most period. Multiples of a period are multiples of its parts.
func Until(period time.Duration) time.Duration {
	return period - time.Duration(time.Now().UnixNano()%int64(period))
}
