package bench

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Progress describes the progress of a run.
type Progress struct {
	Phase   string        // "connect", "prepare", "load", "remove"
	Elapsed time.Duration // time since the start of the phase
	Done    int64         // commands (in prepare: entries) with a good reply
	Errors  int64         // commands without a good reply
	Rate    float64       // Done per second, since the last call
	// Fraction is the finished part of the phase, from 0 to 1, or negative if unknown.
	Fraction float64
}

// progressEvery is the interval between calls of progress.
const progressEvery = time.Second

// Run puts load on the servers as described by cfg, and returns the measurements. It calls
// progress, unless nil, from one goroutine about once a second.
//
// Error replies and broken connections are counted in the report, and are not errors. Run
// returns an error if cfg is invalid, if a server cannot be reached or prepared at the
// start, or if a lost connection cannot be replaced for long. If ctx ends, Run returns the
// measurements so far, with Interrupted set, and no error.
func Run(ctx context.Context, cfg Config, progress func(Progress)) (Report, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return Report{}, err
	}
	if cfg.Name == "" {
		var b [4]byte
		if _, err := crand.Read(b[:]); err != nil {
			return Report{}, err
		}
		cfg.Name = hex.EncodeToString(b[:])
	}
	r := &run{load: load{cfg: &cfg}, report: newReport(&cfg)}
	if cfg.WaitReplicas > 0 {
		r.wait = request(nil, "WAIT", strconv.Itoa(cfg.WaitReplicas), strconv.FormatInt(cfg.ReplyTimeout.Milliseconds(), 10))
	}
	r.enter("connect")

	watch, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { // calls progress; Run waits for it
		defer close(watched)
		if progress != nil {
			r.watch(watch, progress)
		}
	}()
	err = r.all(ctx)
	stop()
	<-watched
	r.report.Interrupted = ctx.Err() != nil
	if r.report.Interrupted {
		err = nil
	}
	return r.report, err
}

// run is the state of one call of Run.
type run struct {
	load
	phase  atomic.Pointer[phase]
	report Report
}

type phase struct {
	name  string
	began time.Time
}

func (r *run) enter(name string) { r.phase.Store(&phase{name, time.Now()}) }

// all runs the phases one after another.
func (r *run) all(ctx context.Context) error {
	places, err := r.cfg.places(ctx)
	if err != nil {
		return err
	}
	r.addrs = append(r.addrs, r.cfg.Addrs...)
	for _, p := range places {
		if r.cfg.ClusterAware {
			r.report.Places = append(r.report.Places, Place{p.addr, len(p.streams)})
			r.addrs = append(r.addrs, p.addr)
		}
	}
	r.enter("prepare")
	if err := r.prepare(ctx, places); err != nil {
		return err
	}
	r.done.Store(0)
	workers, consumers, err := r.crew(ctx, places)
	if err != nil {
		closeAll(workers, consumers)
		return err
	}
	var disk fsyncs
	if r.cfg.FsyncDir != "" { // one half before the load and one after, because disks drift
		if err := disk.measure(r.cfg.FsyncDir, fsyncSamples/2); err != nil {
			closeAll(workers, consumers)
			return err
		}
	}
	began := time.Now()
	r.enter("load")
	if r.cfg.Duration > 0 {
		r.deadline = began.Add(r.cfg.Duration)
	}
	r.budget.Store(r.cfg.Count)
	err = r.drive(ctx, workers, consumers, began)
	if r.cfg.FsyncDir != "" && err == nil && ctx.Err() == nil {
		err = disk.measure(r.cfg.FsyncDir, fsyncSamples-fsyncSamples/2)
		r.report.Fsync = disk.result(r.cfg.FsyncDir)
	}
	if r.cfg.Remove && err == nil && ctx.Err() == nil {
		r.enter("remove")
		err = r.eachStream(ctx, places, r.removeStream)
	}
	return err
}

// crew returns connected workers and, in mode group, consumers. If it fails, the caller
// closes the connections of those that it returns.
func (r *run) crew(ctx context.Context, places []place) ([]*worker, []*consumer, error) {
	producers := r.cfg.Clients
	if r.cfg.Mode == ModeGroup {
		producers = (r.cfg.Clients + 1) / 2
	}
	workers, err := r.makeWorkers(producers, places)
	if err != nil {
		return nil, nil, err
	}
	consumers, err := r.makeConsumers(r.cfg.Clients-producers, places)
	if err != nil {
		return nil, nil, err
	}
	return workers, consumers, r.connect(ctx, workers, consumers)
}

// makeWorkers deals n workers out to the places. The workers of a place share one ring,
// and start at different positions in it.
func (r *run) makeWorkers(n int, places []place) ([]*worker, error) {
	rings := make([]*ring, len(places))
	for i, p := range places {
		var err error
		if r.cfg.Mode == ModeRead {
			rings[i], err = r.cfg.readRing(p.streams)
		} else {
			rings[i], err = r.cfg.addRing(p.streams)
		}
		if err != nil {
			return nil, err
		}
	}
	workers := make([]*worker, n)
	for i := range workers {
		k := i % len(places)
		workers[i] = &worker{load: &r.load, addr: places[k].addr, ring: rings[k], latency: newHistogram(),
			at: i / len(places) * r.cfg.Depth % rings[k].cycle}
	}
	return workers, nil
}

// makeConsumers deals n consumers out to the places, and the streams out to the consumers.
// If ClusterAware is set, the consumers of a place share its streams; otherwise all share
// all streams. Two consumers of five streams get 0 2 4 and 1 3, for example. If there are
// more consumers than streams, several compete for the entries of one stream.
func (r *run) makeConsumers(n int, places []place) ([]*consumer, error) {
	if r.cfg.Mode == ModeGroup && r.cfg.ClusterAware && n < len(places) {
		return nil, fmt.Errorf("bench: %d consumers cannot serve the streams of %d nodes", n, len(places))
	}
	consumers := make([]*consumer, n)
	for i := range consumers {
		p := places[i%len(places)]
		c := &consumer{worker: worker{load: &r.load, addr: p.addr}, name: fmt.Sprint("c", i), delivery: newHistogram()}
		consumers[i] = c
		number, sharing := i, n // c is consumer number of those sharing the streams
		if r.cfg.ClusterAware {
			number, sharing = i/len(places), (n-i%len(places)+len(places)-1)/len(places)
		}
		for k, s := range p.streams {
			if k%sharing == number%sharing || k == number%len(p.streams) {
				c.streams = append(c.streams, r.cfg.stream(s))
			}
		}
	}
	return consumers, nil
}

// connect dials for all workers and consumers, up to 64 at the same time.
func (r *run) connect(ctx context.Context, workers []*worker, consumers []*consumer) error {
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	connect := func(w *worker) {
		g.Go(func() error {
			if dialCtx.Err() != nil {
				return nil // another dial has failed
			}
			c, err := dial(ctx, w.cfg, w.addr) // not dialCtx, which ends with the dials
			w.conn = c
			return err
		})
	}
	for _, w := range workers {
		connect(w)
	}
	for _, c := range consumers {
		connect(&c.worker)
	}
	return g.Wait()
}

func closeAll(workers []*worker, consumers []*consumer) {
	for _, w := range workers {
		if w.conn != nil {
			w.conn.close()
		}
	}
	for _, c := range consumers {
		if c.conn != nil {
			c.conn.close()
		}
	}
}

// drive runs workers and consumers, which close their connections, and fills in the
// report.
func (r *run) drive(ctx context.Context, workers []*worker, consumers []*consumer, began time.Time) error {
	var produce, consume errgroup.Group
	for _, w := range workers {
		produce.Go(func() error { return w.run(ctx, w.batches) })
	}
	for _, c := range consumers {
		consume.Go(func() error { return c.run(ctx, c.consume) })
	}
	err := produce.Wait()
	elapsed := time.Since(began)
	r.produced.Store(true)
	err = errors.Join(err, consume.Wait())

	latency, delivery := newHistogram(), newHistogram()
	for _, w := range workers {
		latency.merge(w.latency)
	}
	for _, c := range consumers {
		delivery.merge(c.delivery)
	}
	rep := &r.report
	rep.fill(&r.load, elapsed)
	rep.Latency = latency.summary()
	if r.cfg.Mode == ModeGroup {
		rep.Group = r.load.groupReport(time.Since(began), delivery)
	}
	return err
}

// watch reports progress until ctx ends.
func (r *run) watch(ctx context.Context, progress func(Progress)) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var before *phase
	var done int64
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ph, now := r.phase.Load(), time.Now()
		p := Progress{Phase: ph.name, Elapsed: now.Sub(ph.began), Done: r.done.Load(), Errors: r.failures.total(), Fraction: -1}
		if ph != before {
			before, done, last = ph, 0, ph.began
		}
		p.Rate = float64(max(0, p.Done-done)) / now.Sub(last).Seconds()
		done, last = p.Done, now
		switch {
		case ph.name == "prepare" && r.cfg.Mode == ModeRead:
			p.Fraction = float64(p.Done) / float64(int64(r.cfg.Prepare)*int64(r.cfg.Streams))
		case ph.name == "load":
			if r.cfg.Count > 0 {
				p.Fraction = float64(p.Done+p.Errors) / float64(r.cfg.Count)
			}
			if r.cfg.Duration > 0 {
				p.Fraction = max(p.Fraction, p.Elapsed.Seconds()/r.cfg.Duration.Seconds())
			}
			p.Fraction = min(p.Fraction, 1)
		}
		progress(p)
	}
}
