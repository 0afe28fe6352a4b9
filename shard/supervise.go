package shard

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/internal/tick"
)

const (
	// observerBuffer bounds Raft's notices that wait. One would be enough, because a
	// notice only says "look".
	observerBuffer = 8
	// shutdownPatience is how long the end of a Raft instance may take. After that, calls
	// in flight are answered as in doubt, although their fate would be known at its end.
	shutdownPatience = time.Second
	// stuckTerms is the number of heartbeat timeouts after which a leader is replaced
	// that cannot write the first record of its term. A leadership transfer has poisoned
	// such a leader.
	stuckTerms = 4
	// loopInstalls is the number of snapshots installed in a row, without a record in
	// between, that raises an alarm.
	loopInstalls = 2
	// minTrailing is the number of records that stay in the log however large they are.
	minTrailing = 16
	// recentTerms is the number of heartbeat timeouts after its last answer for which the
	// records that a replica needs are kept.
	recentTerms = 4
)

// instance is one *raft.Raft and everything that ends with it.
type instance struct {
	raft   *raft.Raft
	log    *watchedLog
	trans  *endpoint
	events chan raft.Observation
	obs    *raft.Observer
	stop   chan struct{} // closed when its end begins

	snapping atomic.Bool
	failed   atomic.Bool    // the last snapshot failed
	bg       sync.WaitGroup // the goroutine that takes a snapshot
}

// cause is the reason why an instance ends.
type cause int

const (
	causeStop     cause = iota // the shard is closed
	causeHalt                  // a record cannot be applied
	causeConflict              // the log was reset, and Raft remembers the old one
	causeTransfer              // a leadership transfer has poisoned the leader
	causeStall                 // the log's disk does not answer
	causeLoop                  // snapshots come again and again
	causeAsked                 // Shard.Restart asked for it
)

func (c cause) String() string {
	return [...]string{"stop", "halt", "log conflict", "stuck transfer", "log stall", "snapshot loop", "asked to"}[c]
}

// supervisor owns the *raft.Raft of the shard. It starts the instance, watches it, and
// replaces it when nothing else helps; all other parts outlive the instance. Its one
// goroutine also opens and closes the terms that this replica leads in.
type supervisor struct {
	*shared
	applier   *applier
	snapshots *snapshots
	parts     *leaderParts
	lead      *leadership
	due       *due

	loop atomic.Int32 // snapshots installed since a record was written to the log

	quit chan struct{}
	done chan struct{}
}

func newSupervisor(sh *shared, a *applier, s *snapshots, p *leaderParts, l *leadership, d *due) *supervisor {
	return &supervisor{
		shared: sh, applier: a, snapshots: s, parts: p, lead: l, due: d,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// appended implements logObserver.
func (s *supervisor) appended() {
	if s.loop.Load() != 0 {
		s.loop.Store(0)
	}
}

// overfull implements logObserver.
func (s *supervisor) overfull() { s.orders.logFull.send() }

// start starts a Raft instance on the data on disk.
func (s *supervisor) start() (*instance, error) {
	inst := &instance{
		events: make(chan raft.Observation, observerBuffer),
		stop:   make(chan struct{}),
	}
	needs := newRetention(s.watch, recentTerms*s.cfg.Timing.Heartbeat)
	inst.log = newWatchedLog(s.shared, needs, s)
	if err := s.snapshots.recover(inst.log); err != nil {
		return nil, err
	}
	if err := s.bootstrap(inst.log); err != nil {
		return nil, fmt.Errorf("shard %d: write the first record: %w", s.cfg.ID, err)
	}
	m, _, err := s.cfg.Log.Marker()
	if err != nil {
		return nil, err
	}
	inst.log.replayed(m.Index + 1)
	if inst.trans, err = newEndpoint(s.cfg.Transport(), needs, s.parts.news, s.replicates); err != nil {
		return nil, err
	}
	store := &snapshotStore{snapshots: s.snapshots, needs: needs, stop: inst.stop}
	inst.raft, err = raft.NewRaft(raftConfig(s.cfg), &fsm{applier: s.applier, supervisor: s, log: inst.log}, inst.log, inst.log, store, inst.trans)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("shard %d: start raft: %w", s.cfg.ID, err), inst.trans.Close())
	}
	inst.obs = raft.NewObserver(inst.events, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		}
		return false
	})
	inst.raft.RegisterObserver(inst.obs)
	s.current.Store(inst)
	return inst, nil
}

// replicates reports whether this replica leads in term and the shard has a replica on
// node.
func (s *supervisor) replicates(node string, term uint64) bool {
	return s.leads() == term && s.configs.last().has(node)
}

// raftConfig returns the configuration of Raft, which all replicas share.
func raftConfig(cfg *Config) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.NodeID)
	c.HeartbeatTimeout = cfg.Timing.Heartbeat
	c.ElectionTimeout = cfg.Timing.Heartbeat
	c.LeaderLeaseTimeout = cfg.Timing.Heartbeat
	c.CommitTimeout = cfg.Timing.CommitTimeout
	c.MaxAppendEntries = maxAppendEntries
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	// The state holds its own applied index. See snapshots.recover.
	c.NoSnapshotRestoreOnStart = true
	// RestoreCommittedLogs would lose configurations, and can hang.
	c.RestoreCommittedLogs = false
	c.NoLegacyTelemetry = true
	c.TrailingLogs = cfg.Limits.TrailingRecords
	// Snapshots are taken according to the log's size, which Raft does not know.
	c.SnapshotInterval = 24 * time.Hour
	c.SnapshotThreshold = math.MaxUint64
	c.Logger = newRaftLogger(cfg.Logger, cfg.ID)
	return c
}

// bootstrap writes the first record of a shard that has no state, if this replica is a
// founder. It does the work of raft.BootstrapCluster, but survives a crash between the
// two writes, which would otherwise leave a term and no record for ever.
func (s *supervisor) bootstrap(log LogStore) error {
	if len(s.cfg.Founders) == 0 {
		return nil
	}
	last, err := log.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	if _, ok, err := log.Marker(); ok || err != nil {
		return err
	}
	key := []byte("CurrentTerm")
	term, err := log.GetUint64(key)
	if err != nil && err.Error() != "not found" {
		return err
	}
	if term > 1 {
		return nil // other founders have begun the shard, and this one will hear from them
	}
	var conf raft.Configuration
	for _, id := range s.cfg.Founders {
		conf.Servers = append(conf.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id),
		})
	}
	if err := log.SetUint64(key, 1); err != nil {
		return err
	}
	return log.StoreLog(&raft.Log{
		Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf),
	})
}

// run watches inst and its successors until the shard is closed. A shard that has halted,
// or whose Raft does not start again, stays without an instance and refuses everything.
func (s *supervisor) run(inst *instance) {
	defer close(s.done)
	for {
		why := s.watchOver(inst)
		s.shutdown(inst, why)
		if why == causeStop {
			return
		}
		if s.haltErr.Load() == nil {
			s.counters.restarts.Add(1)
			var err error
			if inst, err = s.start(); err == nil {
				continue
			}
			s.haltErr.CompareAndSwap(nil, &err)
			s.cfg.Logger.Error("cannot start again", "shard", s.cfg.ID, "error", err)
			s.fatal(err)
		}
		s.parts.stop(call.ErrStopping)
		<-s.quit
		return
	}
}

// watchOver keeps the terms up to date with inst, until there is a cause to end it.
func (s *supervisor) watchOver(inst *instance) cause {
	next := time.NewTimer(tick.Until(s.cfg.Timing.Watch))
	defer next.Stop()
	for {
		s.lead.update(inst.raft)
		select {
		case <-inst.events:
		case <-s.orders.look:
		case <-s.orders.logFull:
			if !inst.failed.Load() { // after a failure the next examination tries again
				s.takeSnapshot(inst)
			}
		case <-next.C:
			if why, bad := s.examine(inst); bad {
				return why
			}
			if s.lead.term != 0 {
				s.due.tick(s.lead.term)
			}
			next.Reset(tick.Until(s.cfg.Timing.Watch))
		case why := <-s.orders.replace:
			return why
		case <-s.quit:
			return causeStop
		}
	}
}

// examine looks for conditions that do not mend themselves, and returns the cause to end
// inst when it finds one. It also takes a snapshot when the log is over its bound.
func (s *supervisor) examine(inst *instance) (cause, bool) {
	stalled := inst.log.stalled()
	switch {
	case s.lead.term != 0 && stalled > s.cfg.Timing.LogStall:
		// Raft goes on sending heartbeats while its main loop waits for the disk, so
		// nobody else can lead. Closing the transport ends that.
		return causeStall, true
	case stalled == 0 && s.parts.writes.reopen() > stuckTerms*s.cfg.Timing.Heartbeat:
		return causeTransfer, true
	case s.loop.Load() >= loopInstalls:
		s.loop.Store(0)
		s.counters.snapshotLoops.Add(1)
		s.cfg.Logger.Error("snapshots are installed again and again, and no record follows", "shard", s.cfg.ID)
		return causeLoop, true
	}
	if inst.log.full() {
		s.takeSnapshot(inst)
	}
	return 0, false
}

// takeSnapshot makes Raft take a snapshot and truncate the log, in a goroutine of its own
// and one at a time.
func (s *supervisor) takeSnapshot(inst *instance) {
	if !inst.snapping.CompareAndSwap(false, true) {
		return
	}
	inst.bg.Go(func() {
		defer inst.snapping.Store(false)
		holds := s.gate.index.Load() // the snapshot will cover this much or more
		rc := inst.raft.ReloadableConfig()
		rc.TrailingLogs = max(minTrailing, inst.log.trailing())
		err := inst.raft.ReloadConfig(rc)
		if err == nil {
			err = inst.raft.Snapshot().Error()
		}
		inst.failed.Store(err != nil)
		switch {
		case err == nil:
			s.counters.snapshots.Add(1)
			inst.log.marked(holds)
		case errors.Is(err, raft.ErrNothingNewToSnapshot), errors.Is(err, raft.ErrRaftShutdown):
		default:
			s.cfg.Logger.Warn("no snapshot was taken", "shard", s.cfg.ID, "error", err)
		}
	})
}

// shutdown ends inst, and answers everything in flight with it. The transport is closed
// first: peers must stop hearing from this replica even if its main loop waits for a
// disk.
func (s *supervisor) shutdown(inst *instance, why cause) {
	if why != causeStop {
		s.cfg.Logger.Warn("ending the raft instance", "shard", s.cfg.ID, "cause", why.String())
	}
	var refusal error = &call.NotLeader{}
	if why == causeStop || s.haltErr.Load() != nil {
		refusal = call.ErrStopping
	}
	s.current.Store(nil)
	close(inst.stop)
	inst.raft.DeregisterObserver(inst.obs)
	future := inst.raft.Shutdown()
	if err := inst.trans.Close(); err != nil {
		s.cfg.Logger.Warn("close the transport", "shard", s.cfg.ID, "error", err)
	}
	s.lead.forget()
	s.lead.lost(refusal)

	ended := make(chan struct{})
	// Waits for Raft's goroutines, which end when the disk answers.
	go func() {
		defer close(ended)
		_ = future.Error()
		inst.bg.Wait()
		s.parts.news.end()
	}()
	patience := time.NewTimer(shutdownPatience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		// The fate of these is unknown until Raft ends, and that may take long.
		s.lead.abandon(call.ErrInDoubt)
		<-ended
	}
	s.lead.abandon(refusal)
}

// end closes the shard's Raft and waits for it.
func (s *supervisor) end() {
	close(s.quit)
	<-s.done
}
