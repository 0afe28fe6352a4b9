package node

import "time"

// stallLook is how often a node looks whether a sync of its log hangs.
const stallLook = time.Second

// stallWatch measures for how long a sync has hung while this process ran. One that was
// stopped, or whose machine was, finds a sync as old as its absence when it goes on,
// though nothing is wrong with the disk: what passes between two looks counts as no
// more than twice what should.
type stallWatch struct {
	last time.Time
	hung time.Duration
}

// look takes how long the oldest sync has been pending at now, and returns for how long
// it has hung.
func (w *stallWatch) look(now time.Time, pending time.Duration) time.Duration {
	step := 2 * stallLook
	if !w.last.IsZero() {
		step = min(step, now.Sub(w.last))
	}
	w.last = now
	w.hung = min(w.hung+step, pending) // less is pending: that is another sync
	return w.hung
}
