package shard

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
	"millrace/raftlog"
	"millrace/raftlog/disk"
)

// What a replica refuses to start with. All are corruption: a disk has lost what it
// had confirmed, or somebody has mixed directories. The replica's data must be removed
// and come anew from its peers; nothing is deleted on a guess.
var (
	// ErrStateBehind: records between the state and the log's beginning are missing.
	ErrStateBehind = fmt.Errorf("shard: the state is behind its snapshot marker: %w", disk.ErrCorrupt)
	// ErrLogBehind: the state has applied records that the log does not have.
	ErrLogBehind = fmt.Errorf("shard: the log ends before what the state has applied: %w", disk.ErrCorrupt)
	// ErrLogGap: the log begins after the marker's end.
	ErrLogGap = fmt.Errorf("shard: records are missing at the head of the log: %w", disk.ErrCorrupt)
	// ErrStaged: the marker names a received snapshot that is damaged or gone.
	ErrStaged = fmt.Errorf("shard: the received snapshot cannot be installed: %w", disk.ErrCorrupt)
)

// recover brings state, marker, staged files and log into line, before a Raft instance
// starts on them. A crash may have struck anywhere in what install does.
func (s *snapshots) recover(log LogStore) error {
	if err := s.makeDir(); err != nil {
		return fmt.Errorf("shard %d: %w", s.cfg.ID, err)
	}
	m, ok, err := log.Marker()
	if err != nil {
		return fmt.Errorf("shard %d: read the marker: %w", s.cfg.ID, err)
	}
	if err := s.applier.load(); err != nil {
		return err
	}
	if ok {
		if m.Staged != "" {
			if _, err := s.install(log, m, true); err != nil {
				return err
			}
		} else if at := s.applier.now.index; at < m.Applied {
			return fmt.Errorf("shard %d: %w: applied %d, %v", s.cfg.ID, ErrStateBehind, at, m)
		}
		if _, err := s.reconcile(log, m); err != nil {
			return err
		}
		s.configs.set(m.ConfigurationIndex, m.Configuration)
	}
	if err := s.clean(); err != nil {
		return err
	}
	return s.checkLog(log, m)
}

// makeDir makes the staging directory, so that it is there after a crash: a marker may
// name what is in it.
func (s *snapshots) makeDir() error {
	fs := s.cfg.FS
	if err := fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	above := fs.PathDir(s.dir)
	return errors.Join(syncDir(fs, above), syncDir(fs, fs.PathDir(above)))
}

// clean removes everything from the staging directory. Nothing in it is needed: what
// the marker named is installed.
func (s *snapshots) clean() error {
	names, err := s.cfg.FS.List(s.dir)
	for _, name := range names {
		err = errors.Join(err, s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(s.dir, name)))
	}
	if err != nil {
		return fmt.Errorf("shard %d: clean the staging directory: %w", s.cfg.ID, err)
	}
	return nil
}

// checkLog makes sure that the log has what the state and the marker do not cover.
func (s *snapshots) checkLog(log LogStore, m raftlog.Marker) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if err := checkEnds(first, last, s.applier.now.index, m); err != nil {
		return fmt.Errorf("shard %d: %w", s.cfg.ID, err)
	}
	return nil
}

// checkEnds compares the ends of a log, both 0 when it is empty, with the applied index
// and the marker.
func checkEnds(first, last, applied uint64, m raftlog.Marker) error {
	if first > m.Index+1 {
		return fmt.Errorf("%w: it begins at %d, %v", ErrLogGap, first, m)
	}
	if applied > max(last, m.Index) {
		return fmt.Errorf("%w: it ends at %d, applied %d, %v", ErrLogBehind, last, applied, m)
	}
	return nil
}

// reconcile compares the log with the marker. Raft's InstallSnapshot leaves the log as
// it is: records that end before the snapshot would stay, and be served to others
// although nobody ever compared them; and a conflicting record at the snapshot's index
// makes the replica refuse everything that follows. In both cases all of the log is
// either covered by the snapshot or proven not to be committed, and goes. It reports
// whether there was a conflict: then Raft has to be started anew, for it keeps in
// memory where the log ended.
func (s *snapshots) reconcile(log LogStore, m raftlog.Marker) (conflict bool, err error) {
	last, err := log.LastIndex()
	if err != nil || last == 0 {
		return false, err
	}
	if last >= m.Index {
		var l raft.Log
		err := log.GetLog(m.Index, &l)
		if errors.Is(err, raft.ErrLogNotFound) || err == nil && l.Term == m.Term {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		conflict = true
		s.cfg.Logger.Warn("the log conflicts with the snapshot", "shard", s.cfg.ID,
			"index", m.Index, "term", m.Term, "ours", l.Term)
	}
	return conflict, log.ResetLog()
}

// install replaces the state with the staged snapshot that m names, unless the state
// has it already; then nothing names the staged files any more, and they go. It is
// called by the goroutine that applies, or between Raft instances.
func (s *snapshots) install(log LogStore, m raftlog.Marker, atStart bool) (conflict bool, err error) {
	dir := s.cfg.FS.PathJoin(s.dir, m.Staged)
	if s.applier.now.index < m.Applied || mutant.StaleSnapshots {
		h, err := checkStaged(s.cfg, dir, atStart)
		if err == nil && h.applied.index != m.Applied {
			err = fmt.Errorf("%w: %v", ErrSnapshot, &h)
		}
		if err != nil {
			return false, fmt.Errorf("shard %d: %w: %w (%v)", s.cfg.ID, ErrStaged, err, m)
		}
		if err := s.applier.replace(dir, len(h.files)); err != nil {
			return false, fmt.Errorf("shard %d: install the snapshot at %d: %w", s.cfg.ID, m.Index, err)
		}
		s.cfg.Logger.Info("installed a snapshot", "shard", s.cfg.ID, "index", m.Index, "bytes", h.contentBytes())
	}
	// What the marker claims must be durable before it stops naming the files, also
	// where the state came by another way.
	if err := s.cfg.State.LogData(nil, pebble.Sync); err != nil {
		return false, fmt.Errorf("shard %d: sync the state: %w", s.cfg.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if conflict, err = s.reconcile(log, m); err != nil {
		return false, err
	}
	m.Staged, m.StagedBytes = "", 0
	if err := log.PutMarker(m); err != nil {
		return false, err
	}
	s.configs.set(m.ConfigurationIndex, m.Configuration)
	return conflict, s.cfg.FS.RemoveAll(dir)
}

// replace replaces all keys of the shard, the applied index among them, by the files in
// dir, as one. Pebble removes the names it is given, so it gets names of their own: the
// staged files stay until the marker does not name them.
func (a *applier) replace(dir string, files int) error {
	fs := a.cfg.FS
	var paths []string
	for i := range files {
		path := fs.PathJoin(dir, "ingest-"+tableName(i))
		if err := fs.RemoveAll(path); err != nil {
			return err
		}
		if err := vfs.LinkOrCopy(fs, fs.PathJoin(dir, tableName(i)), path); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	a.fence.Lock()
	defer a.fence.Unlock()
	if _, err := a.cfg.State.IngestAndExcise(context.Background(), paths, nil, nil, pebble.KeyRange{Start: a.lo, End: a.hi}); err != nil {
		return err
	}
	return a.load()
}
