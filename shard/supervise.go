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
	// observerBuffer bounds Raft's notices that wait. One is enough: they only say "look".
	observerBuffer = 8
	// shutdownPatience is how long the end of a Raft instance may take before calls
	// whose fate would be known at its end are answered as in doubt.
	shutdownPatience = time.Second
	// stuckTerms is after how many heartbeat timeouts a leader that cannot write the first
	// record of its term is replaced: a leadership transfer has poisoned it.
	stuckTerms = 4
	// loopInstalls is how many snapshots in a row, without a record in between, are an
	// alarm.
	loopInstalls = 2
	// minTrailing is how many records stay in the log however large they are.
	minTrailing = 16
	// recentTerms is for how many heartbeat timeouts after its last answer a replica's
	// need of records counts.
	recentTerms = 4
)

// instance is one *raft.Raft and what belongs to it alone.
type instance struct {
	raft   *raft.Raft
	log    *watchedLog
	trans  *endpoint
	events chan raft.Observation
	obs    *raft.Observer
	stop   chan struct{} // closed when its end begins

	snapping atomic.Bool
	failed   atomic.Bool    // the last snapshot was not taken
	bg       sync.WaitGroup // the goroutine that takes a snapshot
}

// cause is why an instance ends.
type cause int

const (
	causeStop     cause = iota // the shard is closed
	causeHalt                  // a record cannot be applied
	causeConflict              // the log was reset under Raft
	causeTransfer              // a leadership transfer has poisoned the leader
	causeStall                 // the log's disk does not answer
	causeLoop                  // snapshots come again and again
	causeAsked                 // by Restart
)

func (c cause) String() string {
	return [...]string{"stop", "halt", "log conflict", "stuck transfer", "log stall", "snapshot loop", "asked to"}[c]
}

// supervisor owns the *raft.Raft of the shard: it starts it, watches it, and replaces
// it when only that helps. Everything else of the shard outlives the instance. Its one
// goroutine also opens and closes the terms we lead in.
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

// start starts a Raft instance on what is on disk.
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
	if err := s.found(inst.log); err != nil {
		return nil, fmt.Errorf("shard %d: found: %w", s.cfg.ID, err)
	}
	m, _, err := s.cfg.Log.Marker()
	if err != nil {
		return nil, err
	}
	inst.log.replayed(m.Index + 1)
	if inst.trans, err = newEndpoint(s.cfg.Transport(), needs, s.replicates); err != nil {
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

// replicates reports whether this replica leads in a term and has a replica on a node.
func (s *supervisor) replicates(node string, term uint64) bool {
	return s.leads() == term && s.configs.last().has(node)
}

// raftConfig is the one way Raft is run.
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
	// The state says itself what is applied. See snapshots.recover.
	c.NoSnapshotRestoreOnStart = true
	// It loses configurations, and can hang.
	c.RestoreCommittedLogs = false
	c.NoLegacyTelemetry = true
	c.TrailingLogs = cfg.Limits.TrailingRecords
	// Snapshots are taken by the log's size, which Raft does not know.
	c.SnapshotInterval = 24 * time.Hour
	c.SnapshotThreshold = math.MaxUint64
	c.Logger = newRaftLogger(cfg.Logger, cfg.ID)
	return c
}

// found writes the first record of a shard that has no state, when this node is to
// found it. It is what raft.BootstrapCluster does, but for a crash between its two
// writes: that would leave a term and no record for ever.
func (s *supervisor) found(log LogStore) error {
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
		return nil // others have founded it: we are to hear from them
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

// run watches inst and its successors until the shard is closed.
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

// watchOver keeps up with inst until there is a cause to end it.
func (s *supervisor) watchOver(inst *instance) cause {
	next := time.NewTimer(tick.Until(s.cfg.Timing.Watch))
	defer next.Stop()
	for {
		s.lead.update(inst.raft)
		select {
		case <-inst.events:
		case <-s.orders.look:
		case <-s.orders.logFull:
			if !inst.failed.Load() { // else the next examination tries again
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

// examine looks for what does not mend itself.
func (s *supervisor) examine(inst *instance) (cause, bool) {
	stalled := inst.log.stalled()
	switch {
	case s.lead.term != 0 && stalled > s.cfg.Timing.LogStall:
		// Raft heartbeats on while its main loop waits for the disk, and nobody else can
		// lead. Closing its transport ends that.
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

// takeSnapshot has Raft take a snapshot and truncate the log, in a goroutine of its
// own; one at a time.
func (s *supervisor) takeSnapshot(inst *instance) {
	if !inst.snapping.CompareAndSwap(false, true) {
		return
	}
	inst.bg.Go(func() {
		defer inst.snapping.Store(false)
		holds := s.gate.index.Load() // this much or more
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

// shutdown ends inst and everything that was in flight with it. Its transport goes
// first: peers must stop hearing from it even if its main loop waits for a disk.
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
	// Waits for Raft's goroutines; they end when the disk answers.
	go func() {
		defer close(ended)
		_ = future.Error()
		inst.bg.Wait()
	}()
	patience := time.NewTimer(shutdownPatience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		// Nothing is known about these before Raft ends, and it may take long.
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
