package measure

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Point is one second of a run.
type Point struct {
	Second  int   `json:"s"`
	Acked   int   `json:"acked"`   // acknowledged XADDs
	Replied int   `json:"replied"` // commands with a reply
	Refused int   `json:"refused"` // commands that were certainly not done
	Unknown int   `json:"unknown"` // commands with an unknown outcome
	P50us   int64 `json:"p50_us"`  // latency of the commands with a reply
	P99us   int64 `json:"p99_us"`
	MaxUs   int64 `json:"max_us"`
}

// maxLatencyUS bounds the recorded latencies; a longer one is recorded as this. Clients
// give up earlier.
const maxLatencyUS = 60_000_000

// Timeline counts commands for each second. Its methods are safe for concurrent use.
type Timeline struct {
	now func() time.Duration

	mu     sync.Mutex // guards the fields below
	points []Point
	hist   *hdrhistogram.Histogram // latencies of the last point
	all    *hdrhistogram.Histogram // latencies of the whole run
	total  Point
}

// NewTimeline returns an empty timeline. now is the run's clock.
func NewTimeline(now func() time.Duration) *Timeline {
	return &Timeline{now: now, hist: hdrhistogram.New(1, maxLatencyUS, 2), all: hdrhistogram.New(1, maxLatencyUS, 3)}
}

// turn returns the point of the present second. When a new second has begun, it closes
// the last point and appends points up to the present. The caller holds mu.
func (t *Timeline) turn() *Point {
	s := int(t.now() / time.Second)
	if n := len(t.points); n == 0 || t.points[n-1].Second < s {
		t.close()
		for n > 0 && t.points[n-1].Second < s-1 { // seconds without any command
			t.points = append(t.points, Point{Second: t.points[n-1].Second + 1})
			n++
		}
		t.points = append(t.points, Point{Second: s})
	}
	return &t.points[len(t.points)-1]
}

// close computes the latencies of the last point and empties its histogram. The caller
// holds mu.
func (t *Timeline) close() {
	if len(t.points) == 0 {
		return
	}
	p := &t.points[len(t.points)-1]
	p.P50us, p.P99us, p.MaxUs = t.hist.ValueAtQuantile(50), t.hist.ValueAtQuantile(99), t.hist.Max()
	t.hist.Reset()
}

// Replied counts a command with a reply, which acknowledged adds XADDs after the time took.
func (t *Timeline) Replied(took time.Duration, adds int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.turn()
	p.Replied++
	p.Acked += adds
	t.total.Replied++
	t.total.Acked += adds
	us := min(max(took.Microseconds(), 1), maxLatencyUS)
	_ = t.hist.RecordValue(us) // no error, because us is within the bounds
	_ = t.all.RecordValue(us)
}

// Refused counts n commands that were certainly not done.
func (t *Timeline) Refused(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn().Refused += n
	t.total.Refused += n
}

// Unknown counts n commands whose outcome is unknown.
func (t *Timeline) Unknown(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn().Unknown += n
	t.total.Unknown += n
}

// Total returns the counts of the whole run.
func (t *Timeline) Total() Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.total
	p.P50us, p.P99us, p.MaxUs = t.all.ValueAtQuantile(50), t.all.ValueAtQuantile(99), t.all.Max()
	return p
}

// Points returns a copy of the seconds so far.
func (t *Timeline) Points() []Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
	return append([]Point(nil), t.points...)
}
