package check

import (
	"fmt"
	"sync"
	"time"
)

// MaxProblems bounds the violations that are kept with their words; the rest are
// counted. The first ones matter.
const MaxProblems = 100

// Problem is a broken invariant.
type Problem struct {
	At        time.Duration `json:"at_ns"` // since the run began
	Invariant string        `json:"invariant"`
	Text      string        `json:"text"`
}

// Problems collects violations. Any goroutine may add some.
type Problems struct {
	began time.Time
	// Notify, if set, hears of each problem that is kept. It is set before the first use.
	Notify func(Problem)

	mu    sync.Mutex
	kept  []Problem
	count int
}

// NewProblems returns an empty collection of a run that begins now.
func NewProblems() *Problems { return &Problems{began: time.Now()} }

// Now returns how long the run has taken.
func (p *Problems) Now() time.Duration { return time.Since(p.began) }

// Add adds a violation of an invariant.
func (p *Problems) Add(invariant, format string, args ...any) {
	p.mu.Lock()
	p.count++
	var notify func(Problem)
	var added Problem
	if len(p.kept) < MaxProblems {
		added = Problem{p.Now(), invariant, fmt.Sprintf(format, args...)}
		p.kept = append(p.kept, added)
		notify = p.Notify
	}
	p.mu.Unlock()
	if notify != nil {
		notify(added)
	}
}

// All returns the violations kept, and how many there were.
func (p *Problems) All() ([]Problem, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Problem(nil), p.kept...), p.count
}
