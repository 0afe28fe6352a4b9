package check

import (
	"fmt"
	"sync"
	"time"
)

// MaxProblems bounds the violations whose texts are kept. Later ones are only counted,
// because the first ones lead to the cause.
const MaxProblems = 100

// Problem is one violation of an invariant.
type Problem struct {
	At        time.Duration `json:"at_ns"` // since the run began
	Invariant string        `json:"invariant"`
	Text      string        `json:"text"`
}

// Problems collects the violations of a run, and is its clock. Its methods are safe for
// concurrent use.
type Problems struct {
	began time.Time
	// Notify, if set, is called for each problem that is kept. It is set before the first
	// Add.
	Notify func(Problem)

	mu    sync.Mutex // guards kept and count
	kept  []Problem
	count int
}

// NewProblems returns an empty collection for a run that begins now.
func NewProblems() *Problems { return &Problems{began: time.Now()} }

// Now returns the time since the run began.
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

// All returns the kept violations and the number of all.
func (p *Problems) All() ([]Problem, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Problem(nil), p.kept...), p.count
}
