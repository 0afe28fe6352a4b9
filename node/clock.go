package node

import (
	"sync/atomic"
	"time"
)

// clock is the node's clock: the system's, and what DEBUG CLOCK-OFFSET adds to it. Only
// what a shard's records and reads are stamped with comes from it; timers do not.
type clock struct{ offsetMS atomic.Int64 }

// nowMS is the time in ms since the Unix epoch.
func (c *clock) nowMS() int64 { return time.Now().UnixMilli() + c.offsetMS.Load() }
