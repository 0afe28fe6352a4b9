package measure

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Point is a second of a run.
type Point struct {
	Second  int   `json:"s"`
	Acked   int   `json:"acked"` // XADDs
	Replied int   `json:"replied"`
	Refused int   `json:"refused"`
	Unknown int   `json:"unknown"`
	P50us   int64 `json:"p50_us"` // of the commands that were answered
	P99us   int64 `json:"p99_us"`
	MaxUs   int64 `json:"max_us"`
}

// maxLatencyUS bounds what is told apart; a command takes no longer before its client
// gives up.
const maxLatencyUS = 60_000_000

// Timeline counts commands second by second. Its methods are safe for concurrent use.
type Timeline struct {
	now func() time.Duration

	mu     sync.Mutex
	points []Point
	hist   *hdrhistogram.Histogram // of the last point
	all    *hdrhistogram.Histogram // of the whole run
	total  Point
}

// NewTimeline returns an empty timeline. now is the run's clock.
func NewTimeline(now func() time.Duration) *Timeline {
	return &Timeline{now: now, hist: hdrhistogram.New(1, maxLatencyUS, 2), all: hdrhistogram.New(1, maxLatencyUS, 3)}
}

// turn moves on to the present second. The caller holds mu.
func (t *Timeline) turn() *Point {
	s := int(t.now() / time.Second)
	if n := len(t.points); n == 0 || t.points[n-1].Second < s {
		t.close()
		for n > 0 && t.points[n-1].Second < s-1 { // seconds in which nothing was answered
			t.points = append(t.points, Point{Second: t.points[n-1].Second + 1})
			n++
		}
		t.points = append(t.points, Point{Second: s})
	}
	return &t.points[len(t.points)-1]
}

func (t *Timeline) close() {
	if len(t.points) == 0 {
		return
	}
	p := &t.points[len(t.points)-1]
	p.P50us, p.P99us, p.MaxUs = t.hist.ValueAtQuantile(50), t.hist.ValueAtQuantile(99), t.hist.Max()
	t.hist.Reset()
}

// Replied counts a command that was answered; adds are the XADDs in it.
func (t *Timeline) Replied(took time.Duration, adds int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.turn()
	p.Replied++
	p.Acked += adds
	t.total.Replied++
	t.total.Acked += adds
	us := min(max(took.Microseconds(), 1), maxLatencyUS)
	_ = t.hist.RecordValue(us) // it is within the bounds
	_ = t.all.RecordValue(us)
}

// Refused counts commands that were certainly not done.
func (t *Timeline) Refused(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn().Refused += n
	t.total.Refused += n
}

// Unknown counts commands of which nothing is known.
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

// Points returns the seconds so far.
func (t *Timeline) Points() []Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
	return append([]Point(nil), t.points...)
}
