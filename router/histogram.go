package router

import (
	"math/bits"
	"sync/atomic"
)

// A histogram counts durations in nanoseconds. Each range from one power of two to the
// next is cut into eight buckets, so a duration is reported at most an eighth too high.
// For example, 1,000 ns counts in the bucket from 960 to 1,024, and is reported as 1,024.
type histogram struct {
	buckets [histogramPowers * 8]atomic.Int64
}

// histogramPowers bounds the durations: those of 2^42 ns (73 minutes) and more share a
// bucket.
const histogramPowers = 40

// add counts a duration.
func (h *histogram) add(ns int64) { h.buckets[bucketOf(ns)].Add(1) }

func bucketOf(ns int64) int {
	if ns < 8 {
		return int(max(ns, 0))
	}
	power := bits.Len64(uint64(ns)) - 1 // 2^power <= ns
	return min((power-2)*8+int(ns>>(power-3))&7, histogramPowers*8-1)
}

// bucketEnd returns the first duration above those of bucket i.
func bucketEnd(i int) int64 {
	if i < 8 {
		return int64(i) + 1
	}
	power, eighth := i/8+2, int64(i%8)
	return (8 + eighth + 1) << (power - 3)
}

// count returns how many durations were counted.
func (h *histogram) count() (n int64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// quantile returns a duration that a share q of the counted ones does not exceed; zero if
// none was counted.
func (h *histogram) quantile(q float64) int64 {
	rank := int64(q*float64(h.count()) + 0.5)
	var n int64
	for i := range h.buckets {
		if n += h.buckets[i].Load(); n > 0 && n >= rank {
			return bucketEnd(i)
		}
	}
	return 0
}

// powers calls each with a power of two and the number of durations below it, as LATENCY
// HISTOGRAM shows them: from 2^10 ns (about a microsecond) on, and only if the number is
// larger than for the power before.
func (h *histogram) powers(each func(power int, below int64)) {
	var n, last int64
	for i := range h.buckets {
		n += h.buckets[i].Load()
		end := bucketEnd(i)
		if end&(end-1) != 0 || end < 1<<10 || n == last {
			continue
		}
		last = n
		each(bits.Len64(uint64(end))-1, n)
	}
}

func (h *histogram) reset() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
}
