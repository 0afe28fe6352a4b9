package router

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every duration is in a bucket that ends above it, by an eighth at most.
func TestHistogramBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, 1<<40).Draw(t, "ns")
		i := bucketOf(ns)
		end := bucketEnd(i)
		start := int64(0)
		if i > 0 {
			start = bucketEnd(i - 1)
		}
		if ns < start || ns >= end || end-ns > max(ns/8+1, 1) {
			t.Fatalf("%d ns is in bucket %d: [%d, %d)", ns, i, start, end)
		}
	})
	if i := bucketOf(1 << 62); i != histogramPowers*8-1 {
		t.Errorf("a very long time is in bucket %d", i)
	}
	if i := bucketOf(-1); i != 0 {
		t.Errorf("a negative time is in bucket %d", i)
	}
}

func TestHistogram(t *testing.T) {
	h := new(histogram)
	if h.quantile(0.5) != 0 || h.count() != 0 {
		t.Error("an empty histogram is not empty")
	}
	for range 98 {
		h.add(900)
	}
	h.add(1500)
	h.add(1_000_000)
	var got []string
	h.powers(func(power int, below int64) { got = append(got, fmt.Sprint(power, ":", below)) })
	if want := []string{"10:98", "11:99", "20:100"}; !slices.Equal(got, want) {
		t.Errorf("powers: %v, want %v", got, want)
	}
	for _, tc := range []struct {
		q        float64
		from, to int64
	}{{0.5, 900, 1024}, {0.98, 900, 1024}, {0.99, 1500, 1700}, {1, 1_000_000, 1_130_000}} {
		if got := h.quantile(tc.q); got < tc.from || got > tc.to {
			t.Errorf("quantile %v is %d, want %d to %d", tc.q, got, tc.from, tc.to)
		}
	}
	h.reset()
	if h.count() != 0 {
		t.Error("reset leaves counts")
	}
}
