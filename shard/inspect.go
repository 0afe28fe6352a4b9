package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/raftlog"
)

// AppliedOf returns the applied index that a state holds for the shard that begins at
// firstSlot, or zero if it has none.
func AppliedOf(state pebble.Reader, firstSlot uint16) (uint64, error) {
	v, ok, err := pebblekv.Reader{R: state}.Get(kv.SystemKey(firstSlot, kv.SystemApplied))
	if err != nil || !ok {
		return 0, err
	}
	at, err := decodeApplied(v)
	return at.index, err
}

// offline returns c for a replica that does not run: with defaults, and without peers.
func (c Config) offline() Config {
	c.Limits, c.Timing = c.Limits.withDefaults(), c.Timing.withDefaults()
	c.Clock = func() int64 { return 0 }
	c.OnLeader, c.OnFatal, c.Metrics, c.DigestEvery = nil, nil, nil, 0
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// stillReplica is the parts of a replica that hold its state. None of them runs.
type stillReplica struct {
	*shared
	applier   *applier
	snapshots *snapshots
}

func newStillReplica(cfg *Config) *stillReplica {
	sh := newShared(cfg)
	a := newApplier(sh, newDigester(sh), nobody{})
	return &stillReplica{shared: sh, applier: a, snapshots: newSnapshots(sh, a)}
}

// nobody is an applyObserver for replicas that do not run.
type nobody struct{}

func (nobody) opened(uint64)                   {}
func (nobody) applied(applied, [][]byte, bool) {}

// Replay brings a copy of a replica's state up to the end of its log, committed or not.
// It changes nothing but config.State, which must be the copy.
func Replay(config Config) error {
	cfg := config.offline()
	s := newStillReplica(&cfg)
	if err := s.applier.load(); err != nil {
		return err
	}
	m, ok, err := cfg.Log.Marker()
	if err != nil {
		return err
	}
	if at := s.applier.now.index; ok && at < m.Applied {
		return fmt.Errorf("shard %d: %w: applied %d, %v", cfg.ID, ErrStateBehind, at, m)
	}
	_, _, err = s.replay(cfg.Log)
	return err
}

// Inspect returns why a replica that does not run would not open, or nil: it looks for
// gaps between the state, the marker, the staged files and the log. It changes nothing.
// Of cfg it uses the fields that Destroy uses.
func Inspect(cfg Config, part *raftlog.Part) error {
	applied, err := AppliedOf(cfg.State, cfg.FirstSlot)
	if err != nil {
		return err
	}
	var m raftlog.Marker
	if part.Marker != nil {
		m = *part.Marker
	}
	if applied < m.Applied {
		if m.Staged == "" {
			return fmt.Errorf("%w: applied %d, %v", ErrStateBehind, applied, m)
		}
		h, err := checkStaged(&cfg, cfg.FS.PathJoin(cfg.StagingDir, strconv.FormatUint(uint64(cfg.ID), 10), m.Staged), true)
		if err == nil && h.applied.index != m.Applied {
			err = fmt.Errorf("%w: %v", ErrSnapshot, &h)
		}
		if err != nil {
			return fmt.Errorf("%w: %w (%v)", ErrStaged, err, m)
		}
		applied = m.Applied
	}
	if m.Staged != "" && part.Last < m.Index {
		return nil // the log will go when the snapshot is installed
	}
	return checkEnds(part.First, part.Last, applied, m)
}

// Force makes this node the only voter of a shard whose majority is lost for good.
// Everything in its log becomes committed, acknowledged or not. The replica must not run.
// Afterwards the shard begins with a snapshot, and the effects of the whole log are in
// the state.
//
// change, if not nil, may change the state last of all. A Force that was cut short is
// repeated, so change may run twice and must not mind.
func Force(config Config, change func(*pebble.Batch) error) (err error) {
	cfg := config.offline()
	fail := func(err error) error { return fmt.Errorf("shard %d: force: %w", cfg.ID, err) }
	s := newStillReplica(&cfg)
	if err := s.snapshots.recover(cfg.Log); err != nil {
		return err
	}
	term, last, err := s.replay(cfg.Log)
	if err != nil {
		return fail(err)
	}
	m, marked, err := cfg.Log.Marker()
	if err != nil {
		return fail(err)
	}
	if marked && m.Index > last {
		term, last = m.Term, m.Index
	}
	if last == 0 {
		return fail(errors.New("the replica has neither records nor a snapshot"))
	}
	b := cfg.State.NewBatch()
	defer b.Close()
	if change != nil {
		if err := change(b); err != nil {
			return fail(err)
		}
	}
	if err := b.LogData(nil, nil); err != nil {
		return fail(err)
	}
	// The sync covers the records that were applied above, too.
	if err := b.Commit(pebble.Sync); err != nil {
		return fail(err)
	}
	id := raft.ServerID(cfg.NodeID)
	if err := cfg.Log.PutMarker(raftlog.Marker{
		Index: last, Term: term, Applied: s.applier.now.index, ConfigurationIndex: last, Version: int(raft.SnapshotVersionMax),
		Configuration: raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)}}},
	}); err != nil {
		return fail(err)
	}
	// Other replicas must not be served a log that lacks records which the state has.
	return cfg.Log.ResetLog()
}

// replay applies the whole log. It returns the term and index of the last record, or
// zeros if there is none.
func (s *stillReplica) replay(log LogStore) (term, last uint64, err error) {
	if last, err = log.LastIndex(); err != nil || last == 0 {
		return 0, 0, err
	}
	for i := s.applier.now.index + 1; i <= last; i++ {
		l := new(raft.Log)
		switch err := log.GetLog(i, l); {
		case errors.Is(err, raft.ErrLogNotFound) && s.covered(i):
			continue // the marker's index covers records that never reach the state machine
		case err != nil:
			return 0, 0, fmt.Errorf("record %d of %d: %w", i, last, err)
		}
		if l.Type != raft.LogCommand && l.Type != raft.LogConfiguration {
			continue // a record of Raft's own, which the state machine never sees
		}
		s.applier.ApplyBatch([]*raft.Log{l})
		if s.applier.halted.Load() {
			return 0, 0, fmt.Errorf("%w: at record %d", errHalted, i)
		}
	}
	var l raft.Log
	if err := log.GetLog(last, &l); err != nil {
		return 0, 0, err
	}
	return l.Term, last, nil
}

// covered reports whether the marker covers the record at index.
func (s *stillReplica) covered(index uint64) bool {
	m, ok, err := s.cfg.Log.Marker()
	return err == nil && ok && index <= m.Index
}

// Forget gives a replica up because another survivor has more records. It keeps the term
// that the shard has come to. The shard's new leader sends the replica everything.
func Forget(cfg Config) error {
	key := []byte("CurrentTerm")
	term, err := cfg.Log.GetUint64(key)
	if err != nil && !errors.Is(err, raftlog.ErrNotFound) {
		return fmt.Errorf("shard %d: forget: %w", cfg.ID, err)
	}
	if err := Destroy(cfg); err != nil {
		return err
	}
	return cfg.Log.SetUint64(key, max(term, 1))
}
