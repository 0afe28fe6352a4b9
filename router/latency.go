package router

import (
	"slices"
	"sync"
	"time"
)

// events keeps the commands of this node that took latency-monitor-threshold or longer:
// one series for commands with the flag Fast, one for the others.
type events struct {
	mu     sync.Mutex
	series map[string]*eventSeries // guarded by mu; of a few names
}

// eventSeries is the history of one event.
type eventSeries struct {
	samples []eventSample // oldest first, at most one for each second
	maxMS   int64
}

type eventSample struct{ unix, ms int64 }

// maxSamples bounds a series. The oldest sample goes first. It is Redis's bound.
const maxSamples = 160

// The names of events.
const (
	eventCommand = "command"
	eventFast    = "fast-command"
)

// add notes an event that took ms. Of the events in one second, the longest stays.
func (e *events) add(name string, now time.Time, ms int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.series == nil {
		e.series = make(map[string]*eventSeries)
	}
	s := e.series[name]
	if s == nil {
		s = new(eventSeries)
		e.series[name] = s
	}
	s.maxMS = max(s.maxMS, ms)
	if n := len(s.samples); n > 0 && s.samples[n-1].unix == now.Unix() {
		s.samples[n-1].ms = max(s.samples[n-1].ms, ms)
		return
	}
	if len(s.samples) == maxSamples {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
	s.samples = append(s.samples, eventSample{now.Unix(), ms})
}

// names returns the names of the events that have samples, sorted.
func (e *events) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for name := range e.series {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// history returns a copy of a series, empty if there was no such event.
func (e *events) history(name string) (samples []eventSample, maxMS int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.series[name]
	if s == nil {
		return nil, 0
	}
	return slices.Clone(s.samples), s.maxMS
}

// reset forgets the named events, or all without names, and returns their number.
func (e *events) reset(names ...string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(names) == 0 {
		n = len(e.series)
		clear(e.series)
		return n
	}
	for _, name := range names {
		if e.series[name] != nil {
			delete(e.series, name)
			n++
		}
	}
	return n
}
