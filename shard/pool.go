package shard

import "sync"

// pool runs jobs on a bounded number of goroutines. They end when there is nothing to do,
// so an idle shard has none. The queue of jobs has no bound of its own, because the
// callers have one: a job runs reads that QueueReads bounds, looks at waiters that
// Waiters bounds, or makes one Admin call of at most AdminCalls.
type pool struct {
	limit int

	mu      sync.Mutex
	jobs    []func() // guarded by mu
	running int      // guarded by mu
	wg      sync.WaitGroup
}

func newPool(limit int) *pool { return &pool{limit: limit} }

// run runs job soon.
func (p *pool) run(job func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs, job)
	if p.running < p.limit {
		p.running++
		p.wg.Add(1)
		go p.work()
	}
}

func (p *pool) work() {
	defer p.wg.Done()
	for {
		p.mu.Lock()
		if len(p.jobs) == 0 {
			p.running--
			p.jobs = nil
			p.mu.Unlock()
			return
		}
		job := p.jobs[0]
		p.jobs[0] = nil
		p.jobs = p.jobs[1:]
		p.mu.Unlock()
		job()
	}
}

// wait returns once all jobs are done. Meanwhile only jobs may add jobs.
func (p *pool) wait() { p.wg.Wait() }
