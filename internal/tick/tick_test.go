package tick

import (
	"testing"
	"testing/synctest"
	"time"
)

// Timers of different periods that were started at any moments fire together.
func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const long, short = time.Second, 250 * time.Millisecond
		for _, late := range []time.Duration{0, 1, 100 * time.Millisecond, 251 * time.Millisecond, long - 1} {
			time.Sleep(Until(long))
			start := time.Now()
			time.Sleep(late)
			if d := Until(long); d <= 0 || d > long || !time.Now().Add(d).Equal(start.Add(long)) {
				t.Errorf("%v after a multiple: %v to the next", late, d)
			}
			for range 4 - late/short {
				time.Sleep(Until(short))
			}
			if got := time.Since(start); got != long {
				t.Errorf("%v after a multiple: the short period reaches %v", late, got)
			}
		}
	})
}
