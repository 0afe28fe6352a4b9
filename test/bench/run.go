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

// Progress is how far a run is.
type Progress struct {
	Phase   string        // "connect", "prepare", "load", "remove"
	Elapsed time.Duration // of the phase
	Done    int64         // commands (prepare: entries) that were answered well
	Errors  int64         // and that were not
	Rate    float64       // a second, since the last call
	// Fraction is how much of the phase is over, 0 to 1; negative where unknown.
	Fraction float64
}

// progressEvery is how often a run reports.
const progressEvery = time.Second

// Run puts load on the servers as cfg says and returns what it measured. It calls
// progress, unless it is nil, from one goroutine about once a second.
//
// Error replies and broken connections are part of the report and not errors. Run
// returns an error when cfg is wrong, when a server cannot be reached or prepared in
// the beginning, or for long later. When ctx ends it returns what was measured up to
// then, with Interrupted set, and no error.
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
	go func() { // calls progress; ends before Run returns
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

// run is one call of Run.
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
	if r.cfg.FsyncDir != "" { // half before the load and half after: disks drift
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

// crew makes the workers and connects them. Each place has one ring, that all its
// workers share; they start at different points of it.
func (r *run) crew(ctx context.Context, places []place) ([]*worker, []*consumer, error) {
	rings := make([]*ring, len(places))
	for i, p := range places {
		var err error
		if r.cfg.Mode == ModeRead {
			rings[i], err = r.cfg.readRing(p.streams)
		} else {
			rings[i], err = r.cfg.addRing(p.streams)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	producers := r.cfg.Clients
	if r.cfg.Mode == ModeGroup {
		producers = (r.cfg.Clients + 1) / 2
	}
	workers := make([]*worker, producers)
	for i := range workers {
		k := i % len(places)
		workers[i] = &worker{load: &r.load, addr: places[k].addr, ring: rings[k], latency: newHistogram(),
			at: i / len(places) * r.cfg.Depth % rings[k].cycle}
	}
	consumers := make([]*consumer, r.cfg.Clients-producers)
	if r.cfg.Mode == ModeGroup && r.cfg.ClusterAware && len(consumers) < len(places) {
		return nil, nil, fmt.Errorf("bench: %d consumers cannot serve the streams of %d nodes", len(consumers), len(places))
	}
	for i := range consumers {
		p := places[i%len(places)]
		c := &consumer{worker: worker{load: &r.load, addr: p.addr}, name: fmt.Sprint("c", i), delivery: newHistogram()}
		consumers[i] = c
		// The consumers of a place share out its streams; more of them than streams
		// compete for the entries of a stream. Without ClusterAware all of them share
		// out all streams.
		mine, of := i, len(consumers)
		if r.cfg.ClusterAware {
			mine, of = i/len(places), (len(consumers)-i%len(places)+len(places)-1)/len(places)
		}
		for k, s := range p.streams {
			if k%of == mine%of || k == mine%len(p.streams) {
				c.streams = append(c.streams, r.cfg.stream(s))
			}
		}
	}
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(64) // dials at the same time
	connect := func(w *worker) {
		g.Go(func() error {
			if dialCtx.Err() != nil {
				return nil // another dial has failed
			}
			c, err := dial(ctx, w.cfg, w.addr) // ctx: the connection outlives the dials
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
	return workers, consumers, g.Wait()
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

// drive runs the workers, which close their connections, and fills in the report.
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
