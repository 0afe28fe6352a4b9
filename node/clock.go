package node

import (
	"sync/atomic"
	"time"
)

// clock is the system's clock plus the offset that DEBUG CLOCK-OFFSET has set. It stamps
// the records and reads of shards. Timers do not use it.
type clock struct{ offsetMS atomic.Int64 }

// nowMS returns the time in ms since the Unix epoch.
func (c *clock) nowMS() int64 { return time.Now().UnixMilli() + c.offsetMS.Load() }
