package node

import (
	"sync"
	"time"
)

// stallLook is how often a node looks whether a sync of its log hangs.
const stallLook = time.Second

// sleepAfter is how long nobody may ask an awake for it to take the process for
// stopped. While there is something to ask about, somebody does every two seconds.
const sleepAfter = 3 * time.Second

// awake knows since when the process has run without a break. One that was stopped, or
// whose machine was, finds operations on its disk as old as its absence when it goes on,
// though nothing is wrong with the disk: what it takes for hanging must have hung while
// it ran. Any goroutine may ask.
type awake struct {
	mu    sync.Mutex
	since time.Time // guarded by mu
	asked time.Time // guarded by mu
}

// atMost returns took, or for how long the process has run at now where that is less.
func (a *awake) atMost(now time.Time, took time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.asked) > sleepAfter {
		a.since = now
	}
	a.asked = now
	return min(took, now.Sub(a.since))
}
