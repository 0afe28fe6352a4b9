package measure

import (
	"testing"
	"time"
)

// clock is a run's clock; the test sets it.
type clock struct{ at time.Duration }

func (c *clock) now() time.Duration { return c.at }

func TestShards(t *testing.T) {
	const ms = time.Millisecond
	c := &clock{}
	m := NewShards(2, c.now)
	acked := func(shard uint32, began, at time.Duration) {
		c.at = at
		m.Acked(shard, began)
	}
	acked(1, 0, 10*ms)
	acked(2, 0, 10*ms)
	acked(9, 0, 10*ms) // ignored, because there is no such shard
	c.at = 100 * ms
	m.Watch()
	acked(1, 90*ms, 150*ms) // began before Watch, so it does not count as resumed
	if s := m.Served(1); s.Resumed || s.Stall != 50*ms {
		t.Errorf("%+v", s)
	}
	acked(1, 200*ms, 400*ms)
	acked(1, 410*ms, 420*ms)
	if s := m.Served(1); !s.Resumed || s.After != 300*ms || s.Stall != 250*ms {
		t.Errorf("%+v", s)
	}
	c.at = 1100 * ms
	if s := m.Served(2); s.Resumed || s.After != 1000*ms || s.Stall != 1000*ms {
		t.Errorf("not served: %+v", s)
	}
	acked(2, 1000*ms, 1200*ms)
	longest := m.Longest()
	if len(longest) != 2 || longest[0] != (Gap{1, 150 * ms, 250 * ms}) || longest[1] != (Gap{2, 10 * ms, 1190 * ms}) {
		t.Errorf("%+v", longest)
	}
	m.Rest()
	acked(2, 9000*ms, 9999*ms)
	if got := m.Longest()[1].Took; got != 1190*ms {
		t.Errorf("the time before Rest counts as a gap: %v", got)
	}
}

func TestTimeline(t *testing.T) {
	c := &clock{}
	l := NewTimeline(c.now)
	for range 99 {
		l.Replied(time.Millisecond, 1)
	}
	l.Replied(100*time.Millisecond, 0)
	c.at = 3 * time.Second
	l.Refused(2)
	l.Unknown(3)
	l.Replied(2*time.Hour, 1) // recorded as maxLatencyUS
	points := l.Points()
	if len(points) != 4 || points[0].Second != 0 || points[1] != (Point{Second: 1}) || points[2] != (Point{Second: 2}) || points[3].Second != 3 {
		t.Fatalf("%+v", points)
	}
	p, q := points[0], points[3]
	if p.Acked != 99 || p.Replied != 100 || p.P50us < 990 || p.P50us > 1010 || p.MaxUs < 99_000 {
		t.Errorf("%+v", p)
	}
	if q.Refused != 2 || q.Unknown != 3 || q.Acked != 1 || q.MaxUs < maxLatencyUS*9/10 {
		t.Errorf("%+v", q)
	}
	if all := l.Total(); all.Acked != 100 || all.Replied != 101 || all.Refused != 2 || all.Unknown != 3 {
		t.Errorf("%+v", all)
	}
}
