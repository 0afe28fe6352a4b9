package shard

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/call"
	"millrace/kv"
)

// closePatience is how long Close waits for proposed records to be applied.
const closePatience = time.Second

// Shard is one running replica of a shard. It implements call.Backend.
type Shard struct {
	*shared
	*leaderParts

	applier    *applier
	snapshots  *snapshots
	digests    *digester
	report     *reporter
	admin      *admin
	lead       *leadership
	due        *due
	supervisor *supervisor

	closeOnce sync.Once
}

// Open starts a replica on the data on disk. Besides ErrConfig and errors of disks and
// databases, it fails with ErrStateBehind, ErrLogBehind, ErrLogGap or ErrStaged, which
// disk.Classify knows as corruption.
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
	go s.writes.run()         // turns waiting writes into records
	go s.reads.run()          // obtains read indexes
	go s.waits.run()          // answers blocked calls whose time is over
	return s, nil
}

// assemble builds the parts, each on the ones it depends on. None of them runs yet.
func assemble(cfg *Config) *Shard {
	sh := newShared(cfg)
	views := newViewer(sh)
	parts := newLeaderParts(sh, views)
	digests := newDigester(sh)
	applier := newApplier(sh, digests, parts)
	snapshots := newSnapshots(sh, applier)
	report := newReporter(sh, parts, snapshots)
	admin := newAdmin(sh, parts.writes, report)
	lead := newLeadership(sh, parts, admin)
	due := newDue(sh, views, parts.writes)
	return &Shard{
		shared: sh, leaderParts: parts,
		applier: applier, snapshots: snapshots, digests: digests,
		report: report, admin: admin, lead: lead, due: due,
		supervisor: newSupervisor(sh, applier, snapshots, parts, lead, due),
	}
}

// Submit implements call.Backend. It takes c, or refuses it, at once.
func (s *Shard) Submit(c *call.Call) {
	var err error
	if c.Kind == call.ReadStale { // it names no term
		err = s.reads.acceptStale(c)
	} else {
		err = s.lead.take(c)
	}
	if err != nil {
		c.Done(call.Result{Err: err})
	}
}

// Cancel implements call.Backend.
func (s *Shard) Cancel(c *call.Call) {
	if s.lead.withdraw(c) {
		c.Done(call.Result{Err: call.ErrCanceled})
		return
	}
	s.waits.cancel(c)
}

// AddNonvoter adds a replica that receives the log but has no vote, and returns once the
// change is committed. This replica must lead, as for all changes. If configurationIndex
// is not zero, the change is made only to the configuration of that index, as for the
// other two.
func (s *Shard) AddNonvoter(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.addNonvoter(ctx, s.leads(), node, configurationIndex)
}

// AddVoter gives a caught-up non-voter a vote.
func (s *Shard) AddVoter(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.addVoter(ctx, s.leads(), node, configurationIndex)
}

// Remove removes a replica from the shard. The removed replica is not told: closing and
// destroying it is up to its node.
func (s *Shard) Remove(ctx context.Context, node string, configurationIndex uint64) error {
	return s.admin.remove(ctx, s.leads(), node, configurationIndex)
}

// Transfer hands the leadership over to a voter. It returns once this replica does not
// lead any more.
func (s *Shard) Transfer(ctx context.Context, node string) error {
	return s.admin.transfer(ctx, s.leads(), node)
}

// Restart replaces the Raft instance. Calls, waits and state survive that; leadership
// does not.
func (s *Shard) Restart() { s.orders.replaceSoon(causeAsked) }

// Close stops the replica and waits for everything it started. Calls that were not
// proposed are refused with call.ErrStopping. Calls that were proposed are answered, or
// are in doubt.
func (s *Shard) Close() error {
	s.closeOnce.Do(func() {
		s.leaderParts.stop(call.ErrStopping)
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

// settle waits for the proposed records to be applied, for closePatience at most and only
// while this replica leads.
func (s *Shard) settle() {
	tick := time.NewTicker(adminTick)
	defer tick.Stop()
	for until := time.Now().Add(closePatience); s.inflight.len() > 0 && s.leads() != 0 && time.Now().Before(until); {
		<-tick.C
	}
}

// Destroy deletes everything of a replica that does not run. It is meant for a replica
// that the shard's members have agreed to remove. A crash in the middle leaves a replica
// that does not open; then Destroy must be called again. Of cfg it uses ID, FirstSlot,
// LastSlot, Log, State, StagingDir and FS.
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
