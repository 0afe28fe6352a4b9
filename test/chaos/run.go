package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/measure"
	"millrace/test/chaos/netlab"
	"millrace/test/chaos/replay"
	"millrace/test/chaos/workload"
	"millrace/test/cluster"
)

// overtime bounds how much longer than its duration a run may take. At the bound the run
// writes its report as far as it is known, and the process ends.
const overtime = 15 * time.Minute

// chaos is one run.
type chaos struct {
	options
	problems  *check.Problems
	timeline  *measure.Timeline
	shardWrit *measure.Shards
	world     *fault.World
	nemesis   *fault.Nemesis
	events    []fault.Event // of the earlier nemesis, once replayEra has replaced it
	lab       *netlab.Lab
	cluster   *cluster.Cluster
	env       *workload.Env
	verdicts  workload.Verdicts
	replayed  replay.Counts
	base      []usage // of each node, before the first fault

	installs int // snapshot installations counted in logs that were since emptied
	began    time.Time
	eras     int
	ended    string   // why the run ended early; empty: it did not
	missing  []string // kinds of faults that this run cannot inject
	lag      lagging
	memory   atomic.Int64 // the most memory that any node had resident, in MiB
	present  atomic.Pointer[workload.Era]
	once     sync.Once // guards write
}

func newRun(o options) *chaos {
	c := &chaos{options: o, problems: check.NewProblems(), began: time.Now()}
	c.problems.Notify = func(p check.Problem) { log.Printf("VIOLATION of %s: %s", p.Invariant, p.Text) }
	c.timeline = measure.NewTimeline(c.problems.Now)
	c.shardWrit = measure.NewShards(o.shards, c.problems.Now)
	c.verdicts.Dir = o.out
	return c
}

// errBroken reports that the run found a broken promise.
var errBroken = errors.New("promises were broken")

// run runs everything from the start of the cluster to the report. It returns nil only
// when the run was complete and found no violation.
func (c *chaos) run(ctx context.Context) error {
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	log.Printf("seed %d: %v, %d nodes, %d shards, network %s; report in %s", c.seed, c.duration, c.nodes, c.shards, c.network, c.out)
	defer time.AfterFunc(c.duration+c.replay+overtime, func() {
		c.ended = "the run took too long"
		_ = c.write() // the process ends, with a report or without one
		os.Exit(exitBroken)
	}).Stop()
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer close(stop)
	watchers.Go(func() { c.lag.watch(stop) })

	err := c.start()
	defer c.stop()
	if err == nil {
		watchers.Go(func() { c.world.WatchProcesses(stop) })
		watchers.Go(func() { c.world.WatchDigests(stop) })
		watchers.Go(func() { c.lines(stop) })
		watchers.Go(func() { c.watchMemory(stop) })
		err = c.allEras(ctx)
		if err == nil && c.replay > 0 {
			err = c.replayEra(ctx)
		}
	}
	if err != nil {
		c.ended = err.Error()
	}
	return c.conclude(err)
}

// conclude adds the promises about availability to the violations, writes the report, and
// returns the result of a run that ended with err.
func (c *chaos) conclude(err error) error {
	for _, p := range c.world.Promises() {
		if !p.Kept {
			c.problems.Add("L1", "%s: of %d samples, 99 %% took at most %v and the longest took %v; the promise is %v", p.Name, p.Samples, p.P99, p.Max, p.Within)
		}
	}
	if werr := c.write(); werr != nil {
		return errors.Join(err, werr)
	}
	c.summary()
	if _, n := c.problems.All(); n > 0 {
		c.keepLogs()
		return errors.Join(err, fmt.Errorf("%w: %d violations", errBroken, n))
	}
	if err != nil {
		c.keepLogs()
	}
	return err
}

// stop ends the cluster and then its network.
func (c *chaos) stop() {
	if c.cluster != nil {
		c.cluster.Close()
	}
	if c.lab != nil {
		if err := c.lab.Close(); err != nil {
			log.Print(err)
		}
	}
}

// allEras runs eras until the run's duration is used up.
func (c *chaos) allEras(ctx context.Context) error {
	left := c.duration
	for left > 0 && ctx.Err() == nil {
		took := min(left, c.era)
		if left-took < c.era/4 { // a rest too short for an era of its own joins this one
			took = left
		}
		left -= took
		c.world.HourJumps.Store(left == 0 && c.eras > 0)
		if _, err := c.runEra(ctx, took, c.load); err != nil {
			return fmt.Errorf("era %d: %w", c.eras, err)
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}

// runEra runs one era under a load and returns it. The steps are: clients start, faults
// are injected for the time took, clients stop, all replicas become level and are compared.
func (c *chaos) runEra(ctx context.Context, took time.Duration, load workload.Load) (*workload.Era, error) {
	c.eras++
	e, err := workload.Start(c.env, c.eras, load, &c.verdicts)
	if err != nil {
		return nil, err
	}
	c.present.Store(e)
	c.shardWrit.Rest()
	faults, cancel := context.WithTimeout(ctx, took)
	defer cancel()
	pause(faults, time.Second) // so that the first fault meets the full load
	err = c.nemesis.Run(faults)
	e.Stop()
	if err != nil {
		return nil, err
	}
	quiet := time.Now()
	if err := c.atRest(); err != nil {
		return nil, err
	}
	if err := c.world.CompareNow(); err != nil {
		return nil, err
	}
	if err := e.Finish(c.replicas); err != nil {
		return nil, err
	}
	if err := c.trimLogs(); err != nil {
		return nil, err
	}
	c.shardWrit.Rest()
	c.logf("era %d: read and compared all replicas in %v", c.eras, time.Since(quiet).Round(time.Millisecond))
	return e, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
