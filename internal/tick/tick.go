// Package tick makes all periodic work of a process run at the same moments, so that an
// idle process wakes once for all of it. It has no state.
//
// An idle node spends most of its processor time on waking. A process with thirty timers,
// each with a phase of its own, would never sleep longer than a few milliseconds.
package tick

import "time"

// Until returns the time to the next multiple of period on the system's clock. It is above
// zero and at most period. For example, at 12:00:00.030 with a period of 50 ms it is 20 ms,
// and 70 ms with a period of 100 ms, so that timers of both periods run together at .100.
func Until(period time.Duration) time.Duration {
	return period - time.Duration(time.Now().UnixNano()%int64(period))
}
