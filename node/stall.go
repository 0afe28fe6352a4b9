package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"millrace/internal/tick"
	"millrace/raftlog/disk"
)

const (
	// stallWithhold is the age of a log sync at which this node stops sending heartbeats,
	// so that other nodes take over its shards.
	stallWithhold = 2 * time.Second
	// stallExit is the age of a disk operation at which the process ends, because the disk
	// is as good as gone.
	stallExit = 10 * time.Second
	// stallInterval is the time between two checks for a hanging log sync.
	stallInterval = time.Second
)

// watchStalls ends the process when a sync of the Raft log has hung for stallExit. By then
// other nodes lead its shards, and a supervisor may restart it on a better disk.
func (n *Node) watchStalls(ctx context.Context) error {
	t := time.NewTimer(tick.Until(stallInterval))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			t.Reset(tick.Until(stallInterval))
			if d := n.disks.awake.atMost(time.Now(), n.disks.log.SyncPending()); d > stallExit {
				n.fatal(disk.Failing, fmt.Errorf("a sync of the raft log has hung for %v", d.Round(time.Second)))
			}
		}
	}
}

// sleepAfter is the gap between two calls of atMost that means the process was stopped in
// between. While an operation hangs, somebody calls atMost every two seconds.
const sleepAfter = 3 * time.Second

// awake knows how long the process has run without a pause. If the process or its machine
// was suspended for 25 seconds, a sync that was under way seems to have taken 25 seconds,
// although nothing is wrong with the disk. So an operation counts as hanging only for the
// time that the process has run since. Any goroutine may use awake.
type awake struct {
	mu        sync.Mutex
	since     time.Time // end of the last pause; guarded by mu
	lastAsked time.Time // last call of atMost; guarded by mu
}

// atMost returns the smaller of took and the time for which the process has run, at now,
// since its last pause.
func (a *awake) atMost(now time.Time, took time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.lastAsked) > sleepAfter {
		a.since = now
	}
	a.lastAsked = now
	return min(took, now.Sub(a.since))
}
