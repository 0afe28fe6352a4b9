package shard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/call"
	"millrace/kv"
)

// closePatience is how long Close waits for what was proposed to be applied.
const closePatience = time.Second

// Shard is one replica of a shard, running. It implements call.Backend.
type Shard struct {
	cfg      *Config
	clock    *shardClock
	inflight *inflight
	gate     *gate
	configs  *configs
	counters *counters

	writes     *proposer
	reads      *reads
	waits      *waits
	applier    *applier
	snapshots  *snapshots
	digests    *digester
	supervisor *supervisor
	due        *due
	lead       *leadership
	admin      *admin

	closeOnce sync.Once
}

// Open starts a replica on what is on disk. Beyond ErrConfig, and what disks and
// databases say, it fails with ErrStateBehind, ErrLogBehind, ErrLogGap or ErrStaged,
// which disk.Classify knows as corruption.
func Open(config Config) (*Shard, error) {
	cfg, err := config.check()
	if err != nil {
		return nil, err
	}
	s := assemble(&cfg)
	inst, err := s.supervisor.start()
	if err != nil {
		return nil, err
	}
	go s.supervisor.run(inst) // owns Raft; opens and closes terms
	go s.writes.run()         // proposes what waits
	go s.reads.run()          // obtains read indexes
	go s.waits.run()          // times blocked calls out
	return s, nil
}

// assemble ties the parts together.
func assemble(cfg *Config) *Shard {
	var origin [8]byte
	_, _ = rand.Read(origin[:]) // never fails
	watch := newStopwatch()
	s := &Shard{
		cfg:      cfg,
		clock:    &shardClock{node: cfg.Clock},
		inflight: newInflight(binary.BigEndian.Uint64(origin[:])),
		gate:     new(gate),
		configs:  new(configs),
		counters: new(counters),
	}
	fence := new(sync.RWMutex)
	var once sync.Once
	onFatal := func(err error) {
		once.Do(func() {
			cfg.Logger.Error("cannot go on", "shard", cfg.ID, "error", err)
			if cfg.OnFatal != nil {
				cfg.OnFatal(err)
			}
		})
	}

	s.lead = &leadership{cfg: cfg, inflight: s.inflight}
	s.writes = newProposer(&cfg.Limits, cfg.Timing.Linger, watch, s.clock, s.inflight, s.counters, s.lead.hint)

	s.reads = newReads(cfg)
	s.reads.watch, s.reads.clock, s.reads.gate, s.reads.fence = watch, s.clock, s.gate, fence
	s.reads.counters, s.reads.hint, s.reads.onFatal = s.counters, s.lead.hint, onFatal
	s.reads.pool = newPool(cfg.Limits.Readers)

	s.waits = newWaits(cfg)
	s.waits.watch, s.waits.reads, s.waits.proposer = watch, s.reads, s.writes
	s.waits.counters, s.waits.hint = s.counters, s.lead.hint

	s.lead.writes, s.lead.reads, s.lead.waits = s.writes, s.reads, s.waits

	s.applier = newApplier(cfg)
	s.applier.watch, s.applier.clock, s.applier.inflight, s.applier.gate = watch, s.clock, s.inflight, s.gate
	s.applier.counters, s.applier.configs, s.applier.hint, s.applier.fence = s.counters, s.configs, s.lead.hint, fence

	s.digests = newDigester(cfg, s.applier, watch, onFatal)
	s.applier.digests = s.digests

	s.snapshots = &snapshots{
		cfg: cfg, log: cfg.Log, applier: s.applier, configs: s.configs,
		dir: cfg.FS.PathJoin(cfg.StagingDir, strconv.FormatUint(uint64(cfg.ID), 10)),
	}

	s.due = newDue(cfg)
	s.due.clock, s.due.counters, s.due.reads, s.due.writes = s.clock, s.counters, s.reads, s.writes

	s.supervisor = newSupervisor(cfg)
	s.supervisor.due = s.due
	s.supervisor.watch, s.supervisor.inflight, s.supervisor.applier = watch, s.inflight, s.applier
	s.supervisor.snapshots, s.supervisor.lead, s.supervisor.writes = s.snapshots, s.lead, s.writes
	s.supervisor.counters, s.supervisor.onFatal = s.counters, onFatal

	s.lead.accept, s.lead.nudge = s.accept, s.supervisor.look
	s.lead.running = func() raftRole {
		if inst := s.supervisor.current.Load(); inst != nil {
			return inst.raft
		}
		return nil
	}

	s.applier.onHalt = s.supervisor.halt
	s.applier.onRestore = s.supervisor.restore
	s.applier.onOpened = s.lead.ready
	s.applier.onApplied = func(touched [][]byte, all bool) {
		s.writes.wakeUp()
		s.waits.applied(touched, all)
	}

	s.admin = newAdmin(cfg)
	s.admin.lead, s.admin.writes, s.admin.sup = s.lead, s.writes, s.supervisor
	s.admin.configs, s.admin.gate, s.admin.status = s.configs, s.gate, s.Status
	return s
}

// Submit implements call.Backend. It takes c, or refuses it, at once.
func (s *Shard) Submit(c *call.Call) {
	var err error
	if c.Kind == call.ReadStale { // of no term
		err = s.reads.acceptStale(c)
	} else {
		err = s.lead.take(c)
	}
	if err != nil {
		c.Done(call.Result{Err: err})
	}
}

// accept hands c to the part that takes its kind, or returns why it is refused.
func (s *Shard) accept(c *call.Call) error {
	switch c.Kind {
	case call.Write:
		return s.writes.accept(c)
	case call.Read:
		return s.reads.accept(c)
	case call.Block, call.Wait:
		return s.waits.accept(c)
	case call.Admin:
		return s.admin.accept(c)
	}
	return fmt.Errorf("%w: kind %d", errEmptyCall, c.Kind)
}

// Cancel implements call.Backend.
func (s *Shard) Cancel(c *call.Call) {
	if s.lead.withdraw(c) {
		c.Done(call.Result{Err: call.ErrCanceled})
		return
	}
	s.waits.cancel(c)
}

// AddNonvoter adds a replica that receives the log but has no vote, and returns once
// that is committed. This replica must lead, as for all changes. configurationIndex, if
// it is not zero, is that of the only configuration to which the change may be made, as
// for the other two.
func (s *Shard) AddNonvoter(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.addNonvoter(ctx, s.lead.leads(), node, configurationIndex)
}

// AddVoter gives a caught-up non-voter a vote.
func (s *Shard) AddVoter(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.addVoter(ctx, s.lead.leads(), node, configurationIndex)
}

// Remove removes a replica from the shard. It is not told; closing and destroying it is
// its node's.
func (s *Shard) Remove(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.remove(ctx, s.lead.leads(), node, configurationIndex)
}

// Transfer hands the leadership over to a voter, and returns once this replica does not
// lead any more.
func (s *Shard) Transfer(ctx context.Context, node string) error {
	return s.admin.transfer(ctx, s.lead.leads(), node)
}

// Restart replaces the Raft instance. Calls, waits and state survive, but leadership
// does not.
func (s *Shard) Restart() { s.supervisor.replaceSoon(causeAsked) }

// Close stops the replica and waits for everything it started. Calls that were not
// proposed are refused with call.ErrStopping; those that were are answered, or in doubt.
func (s *Shard) Close() error {
	s.closeOnce.Do(func() {
		s.writes.stop(call.ErrStopping)
		s.reads.stop(call.ErrStopping)
		s.waits.stop(call.ErrStopping)
		s.settle()
		s.admin.end()
		s.supervisor.end()
		s.digests.end()
		s.writes.end()
		s.waits.end()
		s.reads.end()
	})
	return nil
}

// settle waits a moment for what was proposed to be applied, while this replica leads.
func (s *Shard) settle() {
	tick := time.NewTicker(adminTick)
	defer tick.Stop()
	for until := time.Now().Add(closePatience); s.inflight.len() > 0 && s.lead.leads() != 0 && time.Now().Before(until); {
		<-tick.C
	}
}

// Destroy deletes everything of a replica that does not run: only of one that the shard's
// members have agreed to remove. After a crash in between it has to be called again: such
// a replica does not open. Of cfg it uses ID, FirstSlot, LastSlot, Log, State, StagingDir
// and FS.
func Destroy(cfg Config) error {
	lo, hi := kv.SlotBounds(cfg.FirstSlot, cfg.LastSlot)
	err := cfg.State.Excise(context.Background(), pebble.KeyRange{Start: lo, End: hi})
	if err == nil {
		err = cfg.State.LogData(nil, pebble.Sync)
	}
	if err == nil {
		err = cfg.Log.Remove()
	}
	if err == nil {
		err = cfg.FS.RemoveAll(cfg.FS.PathJoin(cfg.StagingDir, strconv.FormatUint(uint64(cfg.ID), 10)))
	}
	if err != nil {
		return fmt.Errorf("shard %d: destroy: %w", cfg.ID, err)
	}
	return nil
}
